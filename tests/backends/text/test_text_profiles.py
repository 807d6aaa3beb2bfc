"""The six shipped text models: their names, their sizes, and a tiny network of each architecture."""

from __future__ import annotations

import pytest

from deploytk import profile_loading
from deploytk.errors import InputError, ProfileError
from deploytk.profile import Profile

#: What their makers publish, in parameters.
PUBLISHED = {
    "kobart": 124e6,
    "llama-3.2-korean-3b": 3.21e9,
    "qwen3-4b": 4.02e9,
    "solar-10.7b": 10.7e9,
    "polyglot-ko-12.8b": 12.9e9,
    "kullm-v2": 12.9e9,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_profile_has_the_size_that_its_makers_publish(name: str) -> None:
    from deploytk.backends.text import sizes

    profile = profile_loading.load(name)
    found = sizes.of(profile)

    assert found.parameters == pytest.approx(PUBLISHED[name], rel=0.03)
    assert (found.trained == found.parameters) == (name == "kobart")
    assert found.trained < 0.02 * found.parameters or name == "kobart"


@pytest.mark.parametrize("written", ["solar_10.7b", "SOLAR 10.7B", "solar-10-7b", "solar-10.7b-v1.0"])
def test_a_name_is_found_however_it_is_written(written: str) -> None:
    assert profile_loading.load(written).name == "solar-10.7b"


def test_a_name_that_is_not_there_says_what_was_tried_and_what_is_near() -> None:
    with pytest.raises(ProfileError, match=r"did you mean 'solar-10-7b'\?\nTried: sola-10b.yaml and the shipped"):
        profile_loading.load("sola-10b")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_tiny_network_is_of_the_same_architecture(name: str) -> None:
    from deploytk.backends.text import sources

    whole = profile_loading.load(name).text
    tiny = profile_loading.load(name, {("text", "tiny"): True}).text
    assert whole is not None and tiny is not None
    small, large = sources.config_of(tiny, 900), sources.config_of(whole)

    assert type(small) is type(large) and small.vocab_size == 900
    assert small.hidden_size == 64 and large.hidden_size > 700


def test_adapters_that_find_no_layer_are_an_error_that_names_the_layers() -> None:
    from deploytk.backends.text import sizes

    told = profile_loading.load("qwen3-4b").model_dump(mode="json", by_alias=True)
    told["text"]["lora"]["targets"] = ["query_key_value"]
    with pytest.raises(InputError, match="no layer is called query_key_value; it has down_proj, gate_proj"):
        sizes.of(Profile.model_validate(told))


def test_an_unknown_architecture_is_an_error() -> None:
    from deploytk.backends.text import sources

    told = profile_loading.load("kobart").model_dump(mode="json", by_alias=True)
    told["text"]["config"]["model_type"] = "bartt"
    text = Profile.model_validate(told).text
    assert text is not None
    with pytest.raises(InputError, match=r"text\.config: "):
        sources.config_of(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": "no place"}, "is not in it"),
        ({"config": {"d_model": 8}}, "model_type is missing"),
        ({"quantize": "nf4"}, "add lora"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], said: str) -> None:
    told = profile_loading.load("kobart").model_dump(mode="json", by_alias=True)
    told["text"] |= change
    with pytest.raises(ValueError, match=said):
        Profile.model_validate(told)
