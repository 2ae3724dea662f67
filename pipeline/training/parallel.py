"""What torchrun says of a process in; the ranks that train together out, and a model spread over them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import UserError
from pipeline.training.config import Parallel

T = TypeVar("T")

WAIT = timedelta(hours=1)  # for other ranks: the first alone writes the model at the end
ROOM = 0.6  # of a GPU's memory that a whole model with its optimizer may take; the rest is for activations


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process of `world`, and its device."""

    rank: int
    world: int
    device: Any

    @property
    def first(self) -> bool:
        return self.rank == 0

    def add(self, values: Any) -> Any:
        """Sums a tensor over all ranks, in place; the host does not wait for it."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """What each rank has, by rank; the host waits."""
        if self.world == 1:
            return [value]
        values = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def agreed(self, make: Callable[[], T]) -> T:
        """What `make` gives; where it fails on any rank, all end, and the first says why.

        Raises:
            UserError: the first error, on the first rank.
        """
        made, error = None, None
        try:
            made = make()
        except UserError as caught:
            error = caught
        errors = [each for each in self.gather(error and (str(error), error.status)) if each]
        if errors:
            found = UserError(errors[0][0])
            found.status = errors[0][1]
            raise self.said_once(found)
        return made  # type: ignore[return-value]

    def said_once(self, error: UserError) -> BaseException:
        """What to raise of an error that all ranks meet: only the first says it."""
        return error if self.first else SystemExit(error.status)


@contextmanager
def ranks() -> Iterator[Ranks]:
    """The ranks that torchrun started, or one alone; on GPUs with NCCL, else with gloo.

    One alone is a group of its own, so that checkpoints are written in one way.

    Raises:
        UserError: more processes on a machine than it has GPUs.
    """
    rank, world, local = (int(os.environ.get(name, value)) for name, value in _ALONE)
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise UserError(f"torchrun: process {local} of a machine that has {torch.cuda.device_count()} GPUs")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    else:
        device, backend = torch.device("cpu"), "gloo"
    begun = not dist.is_initialized()
    if begun:
        alone = {} if world > 1 else {"store": dist.HashStore()}
        dist.init_process_group(backend, rank=rank, world_size=world, timeout=WAIT, **alone)
    try:
        yield Ranks(rank, world, device)
    finally:
        if begun:
            dist.destroy_process_group()


_ALONE = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


def shard(model: Any, blocks: list[Any], ranks: Ranks) -> None:
    """Cuts a model into pieces, one a rank (FSDP2); the weights of one block at a time are gathered where it is called.

    Every rank must call every block in every step. A model on the device meta is given memory after it.
    """
    mesh = init_device_mesh(ranks.device.type, (ranks.world,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def replicate(model: Any, ranks: Ranks) -> Any:
    """The module to call in place of a model that each rank holds whole."""
    if ranks.world == 1:
        return model
    return DistributedDataParallel(model, forward_sync_buffers=False, gradient_as_bucket_view=True)


def to_shard(model: Any, settings: Parallel, ranks: Ranks) -> bool:
    """Whether a model is to be held in pieces: as configured, or where it would not fit a GPU whole."""
    if settings.shard != "auto":
        return settings.shard == "fsdp"
    if ranks.world == 1 or ranks.device.type != "cuda":
        return False
    held = sum(p.nbytes + p.requires_grad * p.numel() * 12 for p in model.parameters())  # gradient, two moments
    return bool(held > ROOM * torch.cuda.get_device_properties(ranks.device).total_memory)


@contextmanager
def unsynchronised(module: Any, last: bool) -> Iterator[None]:
    """Keeps DDP from summing gradients before the last micro-batch. FSDP2 sums each time, as whole gradients of a model
    in pieces might not fit."""
    if isinstance(module, DistributedDataParallel) and not last:
        with module.no_sync():
            yield
    else:
        yield


def local(tensor: Any) -> Any:
    """The piece of a tensor that this rank holds; the tensor itself where it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
