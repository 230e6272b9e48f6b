"""scripts/accelerate: every file is one that accelerate takes, and the ones for the CPU give the processes they say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from hf_vit_family import HfvfTwinsForImageClassification
from hf_vit_family.training.setup import make_accelerator

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "scripts" / "accelerate"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))

PROBE = """
import json, sys
from pathlib import Path
import torch
from hf_vit_family.training.setup import make_accelerator

accelerator = make_accelerator()
total = accelerator.reduce(torch.tensor(accelerator.process_index + 1)).item()
place = Path(sys.argv[1]) / f"{accelerator.process_index}.json"
kind = str(accelerator.distributed_type.value)
place.write_text(json.dumps([accelerator.num_processes, accelerator.device.type, kind, total]))
accelerator.wait_for_everyone()
accelerator.end_training()
"""

# Two steps, a checkpoint of the whole state, and the gathered model saved by one process.
FSDP = """
import sys
from pathlib import Path
import torch
from torch.distributed.tensor import DTensor
from hf_vit_family import create_model
from hf_vit_family.training.setup import gather_model, make_accelerator

def make():
    torch.manual_seed(0)
    return create_model("twins_svt_small", hidden_sizes=[8, 16], depths=[2, 1], num_attention_heads=[1, 2],
                        mlp_ratios=[2, 2], key_reductions=[2, 1], window_sizes=[7, 7], num_labels=3)

folder = Path(sys.argv[1])
accelerator = make_accelerator()
spread = accelerator.is_fsdp2
model = make()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
model, optimizer = accelerator.prepare(model, optimizer)
images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1)).chunk(accelerator.num_processes)
labels = (torch.arange(8) % 3).chunk(accelerator.num_processes)
losses = []
for step in range(3):
    logits = model(pixel_values=images[accelerator.process_index]).logits
    loss = torch.nn.functional.cross_entropy(logits, labels[accelerator.process_index])
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    losses.append(accelerator.reduce(loss.detach(), "mean").item())
    if step == 1:
        accelerator.save_state(str(folder / "state"))
whole = gather_model(accelerator, model, make()).eval()
with torch.inference_mode():
    logits = whole(pixel_values=torch.cat(images)).logits
accelerator.load_state(str(folder / "state"))
loss = torch.nn.functional.cross_entropy(
    model(pixel_values=images[accelerator.process_index]).logits, labels[accelerator.process_index])
again = accelerator.reduce(loss.detach(), "mean").item()
held = sum(tensor.to_local().numel() for tensor in model.parameters() if isinstance(tensor, DTensor))
if accelerator.is_main_process:
    whole.save_pretrained(folder / "model")
    every = sum(tensor.numel() for tensor in whole.parameters())
    torch.save({"logits": logits, "images": torch.cat(images), "losses": losses, "again": again, "spread": spread,
                "held": held, "every": every}, folder / "result.pt")
accelerator.wait_for_everyone()
accelerator.end_training()
"""


def launch(folder: Path, program: str, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """`accelerate launch` of a program that is given the folder."""
    folder.mkdir(exist_ok=True)
    script = folder / "program.py"
    script.write_text(program)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE", "FSDP"))}
    kept |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, str(script), str(folder)]
    return subprocess.run(command, env=kept, cwd=folder, capture_output=True, text=True, timeout=200)


def launch_written(folder: Path, written: str, program: str, *options: str, **environment: str) -> Path:
    """The same until it has written a file, twice at most: gloo may abort a loaded machine's processes at their end."""
    for _ in range(2):
        ended = launch(folder, program, *options, **environment)
        if (folder / written).exists():
            return folder / written
    raise AssertionError(ended.stderr[-3000:])


def launcher_arguments(name: str, *more: str):
    parser = launch_command_parser()
    arguments, _, _ = _validate_launch_command(
        parser.parse_args(["--config_file", str(FOLDER / name), *more, "finetune.py"])
    )
    return arguments


class TestFiles:
    def test_there_is_one_for_each_kind_of_machine(self):
        expected = "cpu cpu_two_ranks ddp deepspeed_zero2 deepspeed_zero3 fsdp2 multi_node one_gpu"
        assert [name.removesuffix(".yaml") for name in FILES] == expected.split()

    @pytest.mark.parametrize("name", FILES)
    def test_accelerate_loads_it_and_its_head_has_the_command(self, name):
        config = load_config_from_file(str(FOLDER / name))
        given = yaml.safe_load((FOLDER / name).read_text())
        for key, value in given.items():
            found = getattr(config, key)
            assert getattr(found, "value", found) == value, key
        head = [line for line in (FOLDER / name).read_text().splitlines() if line.startswith("#")]
        assert any(re.search(rf"accelerate launch --config_file scripts/accelerate/{name} ", line) for line in head)

    def test_fsdp2_reaches_the_processes(self):
        arguments = launcher_arguments("fsdp2.yaml", "--num_processes", "4")
        assert arguments.use_fsdp and arguments.num_processes == 4
        environment = prepare_multi_gpu_env(arguments)
        wanted = {
            "ACCELERATE_USE_FSDP": "true",
            "FSDP_VERSION": "2",
            "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
            "FSDP_RESHARD_AFTER_FORWARD": "true",
            "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
        }
        assert {name: environment.get(name) for name in wanted} == wanted

    @pytest.mark.parametrize("stage", [2, 3])
    def test_deepspeed_stages(self, stage):
        arguments = launcher_arguments(f"deepspeed_zero{stage}.yaml")
        assert arguments.use_deepspeed and arguments.zero_stage == stage
        assert (arguments.gradient_accumulation_steps, arguments.gradient_clipping) == (1, 1.0)

    def test_several_machines(self):
        arguments = launcher_arguments("multi_node.yaml", "--machine_rank", "1", "--main_process_ip", "192.0.2.7")
        assert arguments.multi_gpu and (arguments.num_machines, arguments.num_processes) == (2, 16)
        assert (arguments.machine_rank, arguments.main_process_ip) == (1, "192.0.2.7")

    def test_the_slurm_script_starts_one_launcher_a_machine(self, tmp_path):
        """srun and scontrol are played by two short programs; accelerate by one that prints what it is given."""
        tools = {
            "scontrol": 'printf "first\\nsecond\\n"',
            "srun": 'shift; for SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@"; done',
            "accelerate": 'printf "%s|" "$@"; echo',
        }
        for name, body in tools.items():
            (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
            (tmp_path / name).chmod(0o755)
        slurm = {"SLURM_JOB_NODELIST": "two", "SLURM_JOB_ID": "12345", "SLURM_NNODES": "2"}
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        command = ["bash", str(FOLDER / "slurm.sbatch"), "--data", "my photos", "--epochs", "2"]
        ended = subprocess.run(
            command, env={**os.environ, **slurm, "PATH": path}, capture_output=True, text=True, check=True
        )
        lines = [line.split("|")[:-1] for line in ended.stdout.splitlines()]
        assert [line[line.index("--machine_rank") + 1] for line in lines] == ["0", "1"]
        for line in lines:
            assert line[line.index("--num_processes") + 1] == "16"
            assert line[line.index("--main_process_ip") + 1] == "first"
            assert line[line.index("--main_process_port") + 1] == "22345"
            assert line[-5:] == ["scripts/finetune.py", "--data", "my photos", "--epochs", "2"]
            parsed = launch_command_parser().parse_args(
                [str(ROOT / part) if "/" in part else part for part in line[1:]]
            )
            assert parsed.num_machines == 2 and parsed.training_script_args == line[-4:]


class TestProcesses:
    @pytest.mark.parametrize(("name", "count", "kind"), [("cpu.yaml", 1, "NO"), ("cpu_two_ranks.yaml", 2, "MULTI_CPU")])
    def test_the_cpu_files_give_the_processes_they_say(self, tmp_path, name, count, kind):
        launch_written(
            tmp_path, f"{count - 1}.json", PROBE, "--config_file", str(FOLDER / name), ACCELERATE_USE_CPU="true"
        )
        for rank in range(count):
            found = json.loads((tmp_path / f"{rank}.json").read_text())
            assert found == [count, "cpu", kind, sum(range(1, count + 1))]

    def test_processes_that_would_train_alone_are_refused(self, monkeypatch):
        """What accelerate gives where its variable is missing: two processes that do not know of each other."""
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setattr("hf_vit_family.training.setup.Accelerator", lambda **_: type("One", (), one))
        one = {"num_processes": 1}
        with pytest.raises(ValueError, match="2 processes were started, but each would train alone; set ACCELERATE_"):
            make_accelerator()

    @pytest.mark.slow
    def test_fsdp2_on_two_cpu_ranks_leaves_what_one_process_loads(self, tmp_path):
        arguments = ("--config_file", str(FOLDER / "fsdp2.yaml"))
        result = launch_written(tmp_path / "two", "result.pt", FSDP, *arguments, ACCELERATE_USE_CPU="true")
        found = torch.load(result, weights_only=True)
        assert found["spread"] and 0 < found["held"] < 0.7 * found["every"], "each process holds about a half"
        assert found["again"] == pytest.approx(found["losses"][2], abs=1e-6), "the state goes back to the second step"

        model = HfvfTwinsForImageClassification.from_pretrained(tmp_path / "two" / "model").eval()
        with torch.inference_mode():
            logits = model(pixel_values=found["images"]).logits
        assert torch.equal(logits, found["logits"])

        arguments = ("--config_file", str(FOLDER / "cpu.yaml"))
        alone = launch_written(tmp_path / "one", "result.pt", FSDP, *arguments, ACCELERATE_USE_CPU="true")
        expected = torch.load(alone, weights_only=True)
        assert not expected["spread"]
        assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        torch.testing.assert_close(found["logits"], expected["logits"], rtol=1e-3, atol=1e-4)
