"""Measuring models against timm's."""
