"""Where the loaders find models, and what they do with names they are given."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mofe_restore.tests.nodes.standins import Host


@pytest.fixture
def folders(nodes: ModuleType) -> ModuleType:
    return importlib.import_module("mofe_restore.nodes.model_paths")


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def test_registration_keeps_what_is_there(host: Host, tmp_path: Path) -> None:
    paths = host.modules["folder_paths"]
    paths.add_model_folder_path("LLM", str(tmp_path / "elsewhere"))
    paths.folder_names_and_paths["mofe"] = ([str(tmp_path / "mine")], {".bin"})
    importlib.import_module("mofe_restore.nodes.model_paths").register_folders()
    assert paths.get_folder_paths("LLM") == [str(tmp_path / "elsewhere"), str(tmp_path / "models" / "LLM")]
    assert paths.folder_names_and_paths["mofe"][0][0] == str(tmp_path / "mine")
    assert paths.folder_names_and_paths["mofe"][1] == {".bin"}


def test_registering_twice_changes_nothing(host: Host, folders: ModuleType) -> None:
    before = repr(host.modules["folder_paths"].folder_names_and_paths)
    folders.register_folders()
    assert repr(host.modules["folder_paths"].folder_names_and_paths) == before


def test_restorers_of_every_root_are_offered_after_the_shipped_one(
    host: Host, folders: ModuleType, tmp_path: Path
) -> None:
    host.modules["folder_paths"].add_model_folder_path("mofe", str(tmp_path / "second"))
    touch(tmp_path / "models" / "mofe" / "b.safetensors")
    touch(tmp_path / "models" / "mofe" / "README.md")
    other = touch(tmp_path / "second" / "a.safetensors")
    assert folders.restorer_choices() == ["shipped default", "a.safetensors", "b.safetensors"]
    assert folders.restorer_path("a.safetensors") == other


def test_the_shipped_default_is_the_packs_own(folders: ModuleType, root: Path) -> None:
    assert folders.restorer_path("shipped default") == root / "weights" / "restorer" / "model.safetensors"
    assert folders.mllm_path("shipped default") == root / "weights" / "mllm"


def test_mllm_folders_of_every_root_are_offered(host: Host, folders: ModuleType, tmp_path: Path) -> None:
    host.modules["folder_paths"].add_model_folder_path("LLM", str(tmp_path / "second"))
    touch(tmp_path / "models" / "LLM" / "owner" / "model" / "config.json")
    touch(tmp_path / "models" / "LLM" / "owner" / "model" / "inner" / "config.json")
    touch(tmp_path / "models" / "LLM" / "no-model" / "weights.bin")
    touch(tmp_path / "models" / "mllm" / "small" / "config.json")
    other = touch(tmp_path / "second" / "other" / "config.json")
    assert folders.mllm_choices() == ["shipped default", "other", "owner/model", "small"]
    assert folders.mllm_path("other") == other.parent


def test_a_folder_that_may_not_be_entered_is_passed_over(
    folders: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "models" / "LLM" / "lost+found" / "config.json")
    touch(tmp_path / "models" / "LLM" / "small" / "config.json")
    is_file = Path.is_file

    def refuse(path: Path) -> bool:
        if "lost+found" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert folders.mllm_choices() == ["shipped default", "small"]


def test_a_name_that_is_not_offered_is_refused(folders: ModuleType, tmp_path: Path) -> None:
    outside = touch(tmp_path / "secret" / "config.json")
    touch(tmp_path / "secret.safetensors")
    for name in ("../../secret", str(outside.parent), ""):
        with pytest.raises(FileNotFoundError, match="There is no MLLM folder .* put it there and press R"):
            folders.mllm_path(name)
    for name in ("../../secret.safetensors", str(tmp_path / "secret.safetensors"), "gone.safetensors"):
        with pytest.raises(FileNotFoundError, match="There is no restorer file .*mofe.* press R"):
            folders.restorer_path(name)


def test_a_replaced_file_is_loaded_again(nodes: ModuleType, tmp_path: Path) -> None:
    path = touch(tmp_path / "models" / "mofe" / "a.safetensors")
    before = nodes.LoadRestorer.fingerprint_inputs(model="a.safetensors", precision="auto")
    assert nodes.LoadRestorer.fingerprint_inputs(model="a.safetensors", precision="auto") == before
    os.utime(path, (1, 1))
    after = nodes.LoadRestorer.fingerprint_inputs(model="a.safetensors", precision="auto")
    assert after != before
    assert str(tmp_path) not in after, "it is stored with saved images and must not tell where models lie"


def test_a_replaced_file_of_a_model_folder_is_loaded_again(nodes: ModuleType, tmp_path: Path) -> None:
    path = touch(tmp_path / "models" / "LLM" / "a" / "config.json")
    before = nodes.LoadMllm.fingerprint_inputs(model="a", precision="auto")
    path.write_text("{ }")
    assert nodes.LoadMllm.fingerprint_inputs(model="a", precision="auto") != before


def test_the_fingerprint_of_a_missing_model_leaves_the_error_to_execute(nodes: ModuleType) -> None:
    assert nodes.LoadRestorer.fingerprint_inputs(model="gone.safetensors", precision="auto") == ""
    assert nodes.LoadMllm.fingerprint_inputs(model=None, precision=None) == ""


@pytest.mark.field
def test_row4_a_model_that_is_installed_twice_warns_once(
    host: Host, folders: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = host.modules["folder_paths"]
    for kind, file in (("mofe", "twice.safetensors"), ("LLM", "owner/twice/config.json")):
        paths.add_model_folder_path(kind, str(tmp_path / "second" / kind))
        for root in ("models", "second"):
            touch(tmp_path / root / kind / file)
    for _ in range(3):
        folders.restorer_choices()
        folders.mllm_choices()
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    first, second = (tmp_path / root / "mofe" / "twice.safetensors" for root in ("models", "second"))
    assert warnings[0] == (
        f"There are two models 'twice.safetensors': {first} is used, {second} is not. Rename one of them."
    )
    assert folders.restorer_path("twice.safetensors") == first


@pytest.mark.field
def test_row4_one_folder_under_two_names_is_no_second_model(
    host: Host, folders: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path / "models" / "mofe" / "once.safetensors")
    (tmp_path / "link").symlink_to(tmp_path / "models" / "mofe")
    host.modules["folder_paths"].add_model_folder_path("mofe", str(tmp_path / "link"))
    folders.restorer_choices()
    assert not caplog.records


@pytest.mark.field
def test_row4_two_copies_of_the_pack_warn(
    folders: ModuleType, nodes: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = Path(nodes.__file__).parents[1]
    folders.warn_of_two_packs(None, own)
    folders.warn_of_two_packs(nodes.Restore, own)
    assert not caplog.records
    folders.warn_of_two_packs(nodes.Restore, tmp_path)
    assert "MoFE Restore is installed twice" in caplog.text and str(own) in caplog.text and str(tmp_path) in caplog.text


@pytest.mark.field
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(max_size=12)
    | st.lists(
        st.sampled_from(
            ["..", ".", "/", "\\", "C:", "~", "\0", "secret", "config.json", ".safetensors", "$HOME", "//"]
        ),
        max_size=7,
    ).map("".join)
)
def test_field23_row8_no_name_leads_out_of_the_folders(folders: ModuleType, tmp_path: Path, name: str) -> None:
    touch(tmp_path / "secret" / "config.json")
    touch(tmp_path / "secret.safetensors")
    for find in (folders.mllm_path, folders.restorer_path):
        with pytest.raises(FileNotFoundError, match="There is no"):
            find(name)
