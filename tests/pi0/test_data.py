"""Demonstrations into batches: whole chunks of the right episode, the right prompt, and refusals."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kvlab.pi0 import data

CAMERAS = ("agentview", "wrist")
SENTENCES = ("pick up the bowl", "open the drawer, then close it")


def write(path: Path, steps: int, first: int, language: str, **facts: str) -> Path:
    """A demonstration whose frames, states and actions all tell their step's number, counted from `first`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = torch.arange(first, first + steps)
    frames = number.to(torch.uint8)[:, None, None, None].repeat(1, 8, 8, 3)
    tensors = {"agentview": frames, "wrist": frames + 100, "state": number[:, None].repeat(1, 5).float()}
    tensors["action"] = number[:, None].repeat(1, 3).float() / 100
    save_file(tensors, path, {"language": language, "render": "fast", "size": "8", "task": "0"} | facts)
    return path


@pytest.fixture
def demos(tmp_path) -> data.Demonstrations:
    """Two episodes: steps 0 to 5, and 6 to 8, of different tasks."""
    files = [write(tmp_path / "a.safetensors", 6, 0, SENTENCES[0])]
    files.append(write(tmp_path / "b.safetensors", 3, 6, SENTENCES[1]))
    return data.read(files, CAMERAS, "cpu")


IDENTITY = {f"{k}_{w}": torch.tensor(float(w == "std")) for k in ("state", "action") for w in ("mean", "std")}
PROMPTS = torch.tensor([[5, 6, 0, 0], [7, 8, 9, 0]])


def test_episodes_are_read_one_after_another(demos):
    assert len(demos) == 9
    assert demos.frames[:, :, 0, 0, 0].tolist() == [list(range(9)), list(range(100, 109))]
    assert demos.states[:, 0].tolist() == list(range(9))
    assert demos.last.tolist() == [5] * 6 + [8] * 3
    assert demos.languages == SENTENCES and demos.task.tolist() == [0] * 6 + [1] * 3
    assert demos.facts == {"render": "fast", "size": "8"}


def test_chunks_end_with_their_episode(demos):
    """Beyond the last step: the last action again, and masked."""
    batch = data.sample(demos, torch.tensor([0, 3, 5, 7]), PROMPTS, IDENTITY, chunk=4, augment=False)
    number = (batch.actions * 100).round().int()
    assert number[..., 0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 5], [5, 5, 5, 5], [7, 8, 8, 8]]
    assert batch.actions_valid.int().tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]


def test_a_batch_is_of_one_moment(demos):
    batch = data.sample(demos, torch.tensor([7, 2]), PROMPTS, IDENTITY, chunk=2, augment=False)
    assert batch.images.shape == (2, 2, 3, 8, 8)
    assert ((batch.images[:, :, 0, 0, 0] + 1) * 127.5).round().int().tolist() == [[7, 2], [107, 102]]
    assert batch.state[:, 0].tolist() == [7, 2]
    assert batch.tokens.tolist() == [[7, 8, 9, 0], [5, 6, 0, 0]]
    assert batch.tokens_valid.int().tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]


def test_statistics_normalise(demos):
    stats = {k: torch.from_numpy(v) for k, v in data.statistics(demos).items()}
    batch = data.sample(demos, torch.arange(9), PROMPTS, stats, chunk=1, augment=False)
    for values in (batch.state, batch.actions[:, 0]):
        torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), rtol=0, atol=1e-6)
        torch.testing.assert_close(values.std(0), torch.ones(values.shape[1]), rtol=0, atol=1e-5)


def test_statistics_of_what_never_changes_stay_finite(tmp_path):
    one = data.read([write(tmp_path / "a.safetensors", 4, 0, "x")], CAMERAS, "cpu")
    one.actions[:] = 0.5
    assert (data.statistics(one)["action_std"] > 0).all()


def test_augmentation_disturbs_images_and_state_but_not_actions(demos):
    demos.frames[..., 4:, :] = 250  # an edge to shift
    steps = torch.arange(9).repeat(20)
    torch.manual_seed(0)
    plain, shaken = (data.sample(demos, steps, PROMPTS, IDENTITY, 2, augment) for augment in (False, True))
    assert torch.equal(plain.actions, shaken.actions) and torch.equal(plain.tokens, shaken.tokens)
    disturbed = shaken.state - plain.state
    assert 0.04 < disturbed.std() < 0.06 and not torch.equal(disturbed[0], disturbed[9])
    assert shaken.images.min() >= -1 and shaken.images.max() <= 1
    assert not torch.equal(shaken.images[0, 0], shaken.images[0, 9])  # the same frame, shaken differently
    assert (plain.images - shaken.images).abs().mean((0, 2, 3, 4)).min() > 1e-3


def test_each_image_is_shaken_by_its_own_numbers():
    """Read off ramps along x and y and a plane of zeros: shifts in pixels, contrast and brightness."""
    ramp = torch.arange(32) / 100
    image = torch.stack([ramp.expand(32, 32), ramp[:, None].expand(32, 32), torch.zeros(32, 32)])
    torch.manual_seed(0)
    shaken = data._shake(image.expand(500, -1, -1, -1))
    bright = shaken[:, 2, 16, 16]
    contrast = (shaken[:, 0, 16, 20] - shaken[:, 0, 16, 12]) / 0.08
    along_x, along_y = ((shaken[:, axis, 16, 16] - bright) / contrast * 100 - 16 for axis in (0, 1))
    drawn = torch.stack([along_x / 5, along_y / 5, (contrast - 1) / 0.2, bright / 0.1])
    assert (drawn.max(1).values - 0.97).abs().max() < 0.031 and (drawn.min(1).values + 0.97).abs().max() < 0.031
    assert (drawn.corrcoef() - torch.eye(4)).abs().max() < 0.15


def test_every_word_of_the_instructions_has_a_token():
    """Punctuation too: it stands apart from the word before it."""
    tokenizer = data.word_tokenizer(SENTENCES)
    tokens = data.padded_tokens(tokenizer, SENTENCES, 8, "cpu")
    assert tokens.shape == (2, 8)
    assert (tokens != 0).sum(1).tolist() == [4, 7]
    assert 1 not in tokens  # [UNK]
    assert tokenizer.encode("PICK up").ids == tokens[0, :2].tolist()
    assert tokenizer.encode("juggle").ids == [1]
    assert tokens.unique().numel() == 11  # ten words and marks (`the` twice), and padding


def test_an_instruction_that_is_too_long():
    with pytest.raises(ValueError, match="the longest instruction has 7 tokens; the model takes 6"):
        data.padded_tokens(data.word_tokenizer(SENTENCES), SENTENCES, 6, "cpu")


def test_a_folder_without_demonstrations():
    with pytest.raises(ValueError, match="no demonstration files .*`kvlab demos` makes them"):
        data.read([], CAMERAS, "cpu")


def test_a_file_that_is_no_demonstration(tmp_path):
    save_file({"agentview": torch.zeros(1), "state": torch.zeros(1)}, tmp_path / "x.safetensors")
    lacks = r"\['action', 'language', 'render', 'size', 'wrist'\]"
    with pytest.raises(ValueError, match=f"x.safetensors is not a demonstration: it lacks {lacks}"):
        data.read([tmp_path / "x.safetensors"], CAMERAS, "cpu")


def test_a_truncated_demonstration_is_named(tmp_path):
    path = write(tmp_path / "half.safetensors", 4, 0, "x")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="half.safetensors is truncated or not a safetensors file"):
        data.read([path], CAMERAS, "cpu")


def test_demonstrations_that_were_drawn_differently(tmp_path):
    files = [write(tmp_path / "a.safetensors", 4, 0, "x"), write(tmp_path / "b.safetensors", 4, 0, "x", render="stock")]
    with pytest.raises(ValueError, match="b.safetensors was drawn with {'render': 'stock', .* before it with .*'fast'"):
        data.read(files, CAMERAS, "cpu")


def test_more_frames_than_there_is_memory_for(tmp_path, monkeypatch):
    """Said before any of them is read."""
    files = [write(tmp_path / "a.safetensors", 4, 0, "x"), write(tmp_path / "b.safetensors", 3, 0, "x")]
    needed = 2 * 7 * 8 * 8 * 3
    monkeypatch.setattr(data, "free_memory", lambda device: needed)
    assert data.read(files, CAMERAS, "cpu").frames.numel() == needed
    monkeypatch.setattr(data, "free_memory", lambda device: needed - 1)
    with pytest.raises(MemoryError, match="frames of 7 steps take 0.0 GB, but cpu has 0.0 GB .*: train on fewer demo"):
        data.read(files, CAMERAS, "cpu")
