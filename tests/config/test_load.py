"""A file becomes a checked configuration, or one sentence that says what is wrong with it."""

import pytest

from mmalign.config import EvaluateConfig, FullConfig, LoraAdapterConfig, PairsConfig, RunConfig, from_mapping, load_config
from mmalign.errors import UserError
from mmalign.objectives.diffusion_dpo import DiffusionDPO

MINIMAL = """
model: {pretrained: shapes/sdxl}
data: {source: pairs.parquet}
method: {name: diffusion_dpo}
output_dir: runs/x
"""


@pytest.fixture
def written(tmp_path):
    """Writes a file below the minimal one's keys and gives its path."""

    def write(text: str, base: str = MINIMAL):
        path = tmp_path / "cfg.yaml"
        path.write_text(base + text)
        return path

    return write


def sentence(path, *options) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_least_that_must_be_said(written):
    config = load_config(written(""))
    assert config.model.pretrained == "shapes/sdxl"
    assert config.adapter == LoraAdapterConfig()
    assert config.method.build() == DiffusionDPO()


def test_a_float_without_a_point_is_a_number(written):
    assert load_config(written("train: {learning_rate: 1e-4, adam_epsilon: 1E-8}")).train.learning_rate == 1e-4


def test_no_is_a_word_and_not_a_switch(written):
    assert load_config(written("train: {mixed_precision: no}")).train.mixed_precision == "no"


def test_the_name_that_diffusers_gives_the_model_is_understood(written):
    path = written("", "model: {pretrained_model_name_or_path: a/b}" + MINIMAL.split("}", 1)[1])
    assert load_config(path).model.pretrained == "a/b"


def test_both_names_of_the_model_are_refused(written):
    path = written("", "model: {pretrained: a/b, pretrained_model_name_or_path: c/d}" + MINIMAL.split("}", 1)[1])
    assert "unknown key 'model.pretrained_model_name_or_path'" in sentence(path)


def test_an_adapter_and_a_method_may_be_bare_names(written):
    config = load_config(written("adapter: full", MINIMAL.replace("{name: diffusion_dpo}", "dpo")))
    assert config.adapter == FullConfig()
    assert config.method.name == "dpo"


def test_an_adapter_without_a_name_is_a_lora(written):
    assert load_config(written("adapter: {rank: 4}")).adapter == LoraAdapterConfig(rank=4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {learning_rat: 1}", "unknown key 'train.learning_rat'; did you mean 'learning_rate'?"),
        ("trian: {}", "unknown key 'trian'; did you mean 'train'?"),
        ("adapter: {name: lora, rnk: 3}", "unknown key 'adapter.rnk'; did you mean 'rank'?"),
        ("adapter: {name: full, rank: 3}", "unknown key 'adapter.rank'; there are: name."),
        ("adapter: {name: lorra}", "adapter.name: unknown name 'lorra' among adapters; did you mean 'lora'?"),
        ("adapter: 3", "adapter is 3"),
        ("train: {max_train_steps: many}", "train.max_train_steps is 'many', it should be a valid integer"),
        ("train: {max_train_steps: true}", "train.max_train_steps is True, it should be a number"),
        ("train: {max_train_steps: 0}", "train.max_train_steps is 0, it should be greater than or equal to 1"),
        ("train: {learning_rate: .nan}", "train.learning_rate is nan, it should be a finite number"),
        ("train: {lr_scheduler: cosin}", "train.lr_scheduler is 'cosin', it should be 'constant'"),
        ("train: 5", "train is 5, it should be a section of keys"),
        ("train: {lr_warmup_steps: 5}", "lr_warmup_steps has no effect with lr_scheduler constant; choose constant_with_warmup"),
        ("validation: {steps: 5}", "prompts is empty"),
        ("seed: 1\nseed: 2", "line 7: cannot be read as YAML: the key 'seed' stands there twice"),
        ("train: {", "cannot be read as YAML"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_key_and_remedy(written, text, said):
    path = written(text)
    message = sentence(path)
    assert message.startswith(str(path))
    assert said in message


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("{name: diffusion_dpoo}", "method.name: unknown name 'diffusion_dpoo' among objectives; did you mean 'diffusion_dpo'?"),
        ("{name: diffusion_dpo, bta: 3}", "unknown key 'method.bta'; did you mean 'beta'?"),
        ("{name: diffusion_dpo, beta: big}", "method.beta is 'big', it should be a valid number"),
        ("{name: diffusion_dpo, beta: -1}", "beta is -1.0, it must be above 0"),
        ("{beta: 3}", "the key 'method.name' is missing"),
        ("{name: 3}", "method.name is 3, it should be a text (put it in quotes)"),
        ("[dpo]", "method is ['dpo'], it should be a name, or a section of keys with a name"),
        ("{name: no_such.module}", "unknown name 'no_such.module'"),
    ],
)
def test_a_mistake_in_the_method_names_its_own_fields(written, method, said):
    assert said in sentence(written("", MINIMAL.replace("{name: diffusion_dpo}", method)))


def test_a_missing_key_is_named_and_the_others_counted(written):
    assert sentence(written("", "seed: 3")).endswith("the key 'model' is missing; add it (and 3 more)")


def test_files_that_are_no_configuration(tmp_path):
    assert "no configuration file" in sentence(tmp_path / "none.yaml")
    assert "cannot read" in sentence(tmp_path)
    (tmp_path / "list.yaml").write_text("- a")
    assert "not a list" in sentence(tmp_path / "list.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot read" in sentence(tmp_path / "binary.yaml")


def test_a_mapping_is_checked_by_the_same_rules():
    with pytest.raises(UserError, match="configuration: unknown key 'sed'; did you mean 'seed'"):
        from_mapping({"sed": 3})


def test_a_method_of_a_third_party_joins_by_its_dotted_name(written, tmp_path, monkeypatch):
    (tmp_path / "their_method.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass Theirs:\n    '''Ours is theirs.\n\n    Attributes:\n        margin: how far, no unit.\n    '''\n"
        "    margin: float\n    names: tuple[str, ...] = ('a',)\nPLUGIN = Theirs\n"
    )
    (tmp_path / "theirs").mkdir()
    (tmp_path / "their_method.py").rename(tmp_path / "theirs" / "method.py")
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config(written("", MINIMAL.replace("diffusion_dpo", "theirs.method, margin: 2")))
    assert config.method.fields() == {"margin": 2.0, "names": ("a",)}
    assert type(config.method).model_fields["margin"].description == "how far, no unit."
    assert config.method.build().margin == 2.0


EVALUATION = {"pretrained": "shapes/sdxl", "adapter_path": "runs/x", "output_dir": "report", "aligned_to": "oracle"}


def test_an_evaluation_takes_rewards_as_names_and_as_sections():
    config = from_mapping(EVALUATION | {"rewards": ["oracle", {"name": "taste", "label": "ana"}]}, EvaluateConfig)
    assert [(reward.name, reward.title) for reward in config.rewards] == [("oracle", "oracle"), ("taste", "ana")]


@pytest.mark.parametrize(
    ("rewards", "said"),
    [
        (["oracel"], r"rewards\[0\].name: unknown name 'oracel' among rewards; did you mean 'oracle'"),
        (["taste"], "aligned_to names 'oracle', which is none of the rewards"),
        (["oracle", "oracle"], "give each a label of its own"),
        ([], "rewards is"),
        ([{"name": "oracle", "sharpness": 1}], r"unknown key 'rewards\[0\].sharpness'"),
    ],
)
def test_a_mistake_in_the_rewards_names_the_one(rewards, said):
    with pytest.raises(UserError, match=said):
        from_mapping(EVALUATION | {"rewards": rewards}, EvaluateConfig)


@pytest.mark.parametrize("key", ["weights", "never_worse"])
def test_pairs_name_only_rewards_that_are_there(key):
    values = {"model": {"pretrained": "shapes/sdxl"}, "rewards": ["oracle", "taste"]}
    assert from_mapping(values | {"weights": {"taste": 2}, "never_worse": ["oracle"]}, PairsConfig).per_prompt == 4
    with pytest.raises(UserError, match=f"{key} names 'oracel', which is none of the rewards; did you mean 'oracle'"):
        from_mapping(values | {key: {"oracel": 2} if key == "weights" else ["oracel"]}, PairsConfig)


def test_every_key_is_described():
    def check(section, where):
        for name, info in section.model_fields.items():
            assert info.description, f"{where}.{name}"
            if nested := section.part(name, {"name": "dpo" if name == "method" else "lora"}):
                check(nested, f"{where}.{name}")

    check(RunConfig, "run")
    check(EvaluateConfig, "evaluate")
    check(PairsConfig, "pairs")
