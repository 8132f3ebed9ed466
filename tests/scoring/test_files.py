"""Files, folders and globs: which images, in which order, with which prompts."""

import csv
import json
import shutil

import pytest
from PIL import Image

from mmalign.config import ScoreConfig, from_mapping
from mmalign.errors import UserError
from mmalign.scoring.paths import image_suffixes
from mmalign.scoring.sources import open_pictures


def listing(*words, **settings):
    return open_pictures(from_mapping({"images": list(map(str, words)), "rewards": ["colorfulness"], **settings}, ScoreConfig))


def names(found):
    return [found.picture(index).name for index in range(len(found))]


def test_a_folder_gives_its_images_in_natural_order_whatever_else_lies_there(folder):
    (folder / "notes.md").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "latents.h5").write_bytes(b"")
    assert names(listing(folder)) == [str(folder / f"{number}.png") for number in range(12)]


def test_subfolders_are_searched_and_a_link_that_leads_back_does_no_harm(folder):
    (folder / "sub").mkdir()
    (folder / "1.png").rename(folder / "sub" / "1.JPG")
    (folder / "sub" / "back").symlink_to(folder)
    for word in (folder, folder / "**"):
        assert names(listing(word))[-1] == str(folder / "sub" / "1.JPG")
        assert len(listing(word)) == 12


def test_a_folder_s_own_files_come_before_those_of_its_subfolders_each_in_natural_order(tmp_path, images):
    for name in ("b10/1.png", "b9/x2.png", "b9/x10.png", "b9/X3.png", "c.png", "a/z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        images[0].save(tmp_path / name)
    order = ["c.png", "a/z.png", "b9/x2.png", "b9/X3.png", "b9/x10.png", "b10/1.png"]
    assert names(listing(tmp_path)) == [str(tmp_path / name) for name in order]
    assert names(listing(tmp_path / "*" / "*.png")) == [str(tmp_path / name) for name in order[1:]]


def test_globs_are_expanded_here_and_two_stars_reach_into_subfolders(folder):
    (folder / "sub").mkdir()
    (folder / "11.png").rename(folder / "sub" / "11.png")
    assert names(listing(folder / "1*.png")) == [str(folder / name) for name in ("1.png", "10.png")]
    assert len(listing(folder / "**" / "*.png")) == len(listing(folder / "**")) == 12
    with pytest.raises(UserError, match=r"no file matches .*\*\.webp"):
        listing(folder / "*.webp")


def test_a_name_with_brackets_is_itself_before_it_is_a_pattern(folder):
    (folder / "0.png").rename(folder / "a[1].png")
    assert names(listing(folder / "a[1].png")) == [str(folder / "a[1].png")]


def test_words_keep_their_order(folder):
    words = [folder / "3.png", folder / "1.png", folder / "2.png"]
    assert names(listing(*words)) == list(map(str, words))


def test_what_a_shell_makes_of_a_star_leaves_captions_out(folder):
    (folder / "metadata.jsonl").write_text("")
    (folder / "0.json").write_text("{}")
    found = listing(*sorted(folder.iterdir()))
    assert len(found) == 12
    assert all(name.endswith(".png") for name in names(found))


def test_a_file_without_a_suffix_is_known_by_its_content(folder):
    (folder / "0.png").rename(folder / "0a1b2c")
    assert len(listing(folder / "0a1b2c")) == 1
    (folder / "other").write_text("text")
    with pytest.raises(UserError, match="other is not an image, a film, a folder"):
        listing(folder / "other")


def test_a_missing_file_names_the_nearest(folder):
    with pytest.raises(UserError, match=r"22\.png does not exist; did you mean '2\.png'\?"):
        listing(folder / "22.png")


def test_suffixes_are_those_pillow_draws():
    assert {".png", ".jpg", ".webp", ".avif", ".mp4"} <= image_suffixes()
    assert not {".pdf", ".h5", ".eps"} & image_suffixes()


def test_prompts_come_from_text_files_beside_the_images(folder, captions):
    found = listing(folder)
    assert found.prompts() == captions
    (folder / "3.txt").rename(folder / "3.caption")
    (folder / "4.txt").unlink()
    assert listing(folder).prompts() == [*captions[:4], None, *captions[5:]]
    with pytest.raises(UserError, match=r"4\.png has no prompt: there is no 4\.txt beside it"):
        listing(folder).picture(4).prompt()


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_prompts_come_from_the_metadata_of_the_folder(folder, captions, kind):
    rows = [{"file_name": f"{number}.png", "text": text} for number, text in enumerate(captions)]
    for file in folder.glob("*.txt"):
        file.unlink()
    with (folder / f"metadata.{kind}").open("w", newline="") as file:
        if kind == "csv":
            writer = csv.DictWriter(file, ["file_name", "text"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    assert listing(folder).prompts() == captions
    assert listing(folder / "*.png", prompt_column="text").prompts() == captions
    with pytest.raises(UserError, match="has no column 'txet', its columns are: 'file_name', 'text'; did you mean 'text'"):
        listing(folder, prompt_column="txet")


def test_metadata_whose_rows_do_not_fit_its_head_is_a_sentence(folder):
    for file in folder.glob("*.txt"):
        file.unlink()
    (folder / "metadata.csv").write_text("file_name,text\n0.png,a cat, white\n")
    with pytest.raises(UserError, match=r"metadata.csv, line 2 has 3 cells, but the head of the table has 2; write text with commas"):
        listing(folder)


def test_a_prompt_that_is_given_goes_before_those_of_the_images(folder, tmp_path):
    assert listing(folder, prompt="a cat").prompts() == ["a cat"] * 12
    (tmp_path / "prompts.txt").write_text("\n".join(f"cat {number}" for number in range(12)))
    found = listing(folder, prompts_file=str(tmp_path / "prompts.txt"), limit=3)
    assert found.prompts() == ["cat 0", "cat 1", "cat 2"]
    assert found.picture(2).prompt() == "cat 2"
    (tmp_path / "prompts.txt").write_text("one\ntwo")
    with pytest.raises(UserError, match="there are 12 images but 2 prompts"):
        listing(folder, prompts_file=str(tmp_path / "prompts.txt"))


def test_what_is_found_says_how_many_of_it_are_scored(folder):
    assert listing(folder, limit=12).told == "12 image files, prompts from text files beside them"
    assert listing(folder, limit=3).told == "12 image files, prompts from text files beside them\nof these the first 3"


def test_captions_that_were_asked_for_must_be_there(folder):
    assert listing(folder, captions="none").prompts() == [None] * 12
    with pytest.raises(UserError, match=r"captions is 'metadata' but .* metadata\.jsonl"):
        listing(folder, captions="metadata")
    with pytest.raises(UserError, match="prompt_column is 'text' but"):
        listing(folder, prompt_column="text")
    for key in ("image_column", "split"):
        with pytest.raises(UserError, match=f"{key} is about tables"):
            listing(folder, **{key: "x"})


def test_the_state_tells_whether_the_images_are_the_same(folder):
    state = listing(folder).state
    assert listing(folder).state == state
    shutil.copy(folder / "0.png", folder / "12.png")
    assert listing(folder).state != state


def test_an_empty_folder_is_a_sentence(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds no images, no .tar shards and no table; check the path"):
        listing(tmp_path)


def test_an_image_that_is_a_table_s_neighbor_stays_in_order(folder, images):
    (folder / "rows.jsonl").write_text(json.dumps({"image": "5.png", "prompt": "five"}) + "\n")
    found = listing(folder / "1.png", folder / "rows.jsonl", folder / "2.png")
    assert names(found) == [str(folder / "1.png"), "5.png", str(folder / "2.png")]
    assert Image.open(found.picture(1).image()).tobytes() == images[5].tobytes()
