"""Orders in English and Chinese: amounts, negations, exceptions, contradictions, and what is not understood."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mofe_restore.model.mllm.instructions import MAX_CHARACTERS, read_order
from mofe_restore.model.mllm.order_words import normalized, tokenize
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import ordered_amounts

pytestmark = pytest.mark.field


def amounts(wanted: str) -> dict[str, float]:
    """What a line of the tables says: "rain noise=0.5" removes these only, "all haze=0" all but haze, "" no order."""
    if not wanted:
        return {}
    named = dict(part.split("=") if "=" in part else (part, "1") for part in wanted.split())
    rest = float(named.pop("all", 0.0))
    return {name: float(named.get(name, rest)) for name in DEGRADATIONS}


ENGLISH = {
    # what is removed
    "remove the fog": "haze",
    "Remove the mist and the speckle.": "haze noise",
    "take the rain out": "rain",
    "Get rid of the grain": "noise",
    "please dehaze": "haze",
    "Please remove the rain, the snow and the fog!": "rain snow haze",
    "clean up the noise": "noise",
    "filter out the film grain": "noise",
    "rain removal": "rain",
    "noise reduction only": "noise",
    "noise and haze removal": "noise haze",
    "remove the blockiness": "jpeg",
    "remove the compression artifacts": "jpeg",
    "fix the darkness": "low_light",
    "brighten it": "low_light",
    "make it brighter": "low_light",
    "make it sharper and less noisy": "blur noise",
    "sharpen": "blur",
    "less noise please": "noise",
    "less noise, less haze": "noise haze",
    "less grainy please": "noise",
    "reduce the noise": "noise",
    "no noise please": "noise",
    "no more fog": "haze",
    "I don't want any noise": "noise",
    "I don't like the fog": "haze",
    "I hate the grain": "noise",
    "I want the rain gone": "rain",
    "I want to remove the rain": "rain",
    "I would like you to remove the rain": "rain",
    "the rain must go": "rain",
    "The noise is too strong": "noise",
    "Don't keep the noise": "noise",
    "don't forget to remove the rain": "rain",
    "Can you remove the snow": "snow",
    "Is there haze? Remove it.": "haze",
    "There is haze. Remove it.": "haze",
    "deal with the rain": "rain",
    "only rain": "rain",
    "remove nothing but the rain": "rain",
    "Remove rain and fog from this photo of my dog": "rain haze",
    "remove everything": "all",
    "Remove everything except the grain": "all noise=0",
    "except for the fog, remove everything": "all haze=0",
    "remove the weather": "haze rain snow",
    "remove all the weather but the snow": "haze rain",
    # what is kept
    "keep the fog": "all haze=0",
    "keep the mist": "all haze=0",
    "keep the night": "all low_light=0",
    "keep it dark": "all low_light=0",
    "Keep the film grain and the bokeh": "all noise=0 blur=0",
    "keep the fog, remove only the rain": "rain",
    "keep the fog and remove the rain": "rain",
    "Remove only the rain, keep the fog": "rain",
    "remove the rain but keep the fog": "rain",
    "remove the rain while keeping the fog": "rain",
    "Remove the noise and leave the blur alone": "noise",
    "I love the grain": "all noise=0",
    "I like the fog, remove the rain": "rain",
    "leave the rain untouched": "all rain=0",
    "the fog should remain": "all haze=0",
    "the fog is beautiful, remove the rain": "rain",
    "anything but the fog should be removed": "all haze=0",
    "nothing but the fog should be kept": "all haze=0",
    "leave nothing but the rain": "all rain=0",
    "leave it as it is": "all=0",
    "do nothing": "all=0",
    "Remove the fog? No, keep it.": "all haze=0",
    "Keep the fog? No, remove it.": "haze",
    "remove the noise but keep the details": "noise",
    "remove the noise and the scratches": "noise",
    "restore the fog": "all haze=0",
    "remove the rain, the fog is beautiful": "rain",
    # negations
    "do not remove the fog": "all haze=0",
    "don't dehaze": "all haze=0",
    "never remove the grain": "all noise=0",
    "Please do not touch the fog": "all haze=0",
    "avoid removing the fog": "all haze=0",
    "refrain from removing the grain": "all noise=0",
    "skip the denoising": "all noise=0",
    "stop removing the fog": "all haze=0",
    "no noise reduction": "all noise=0",
    "no sharpening": "all blur=0",
    "without dehazing": "all haze=0",
    "the fog must not be removed": "all haze=0",
    "the grain shouldn't be touched": "all noise=0",
    "I don't want to remove the fog": "all haze=0",
    "I don't want to lose the grain": "all noise=0",
    "I do not want you to remove the fog": "all haze=0",
    "remove neither the rain nor the snow": "all rain=0 snow=0",
    "remove the rain, not the fog": "rain",
    "remove the rain, don't remove the fog": "rain",
    "remove the rain instead of the fog": "rain",
    "nothing should be removed": "all=0",
    "don't change anything": "all=0",
    "don't improve anything": "all=0",
    "Denoise without removing the fog": "noise",
    # amounts
    "dehaze 50%": "haze=0.5",
    "dehaze by 50 percent": "haze=0.5",
    "dehaze at 30%": "haze=0.3",
    "remove half of the haze": "haze=0.5",
    "remove half the haze": "haze=0.5",
    "half of the haze should be removed": "haze=0.5",
    "remove 30% of the noise and 60% of the rain": "noise=0.3 rain=0.6",
    "remove noise and haze by 50%": "noise=0.5 haze=0.5",
    "denoise and dehaze 50%": "noise haze=0.5",
    "remove half of the haze and all of the rain": "haze=0.5 rain",
    "remove a little of the noise": "noise=0.25",
    "remove a bit of the grain": "noise=0.25",
    "slightly denoise": "noise=0.25",
    "gently denoise": "noise=0.5",
    "do not denoise too much": "all noise=0.5",
    "remove the haze, but not all of it": "haze=0.5",
    "keep the fog, remove half of it": "all haze=0.5",
    "keep the fog, all remove": "all haze=0",
    "halve the noise": "noise=0.5",
    "dehaze: 0.5": "haze=0.5",
    "denoise a little": "noise=0.25",
    "a little less noise": "noise=0.25",
    "remove some haze": "haze=0.5",
    "partly remove the rain": "rain=0.5",
    "remove most of the fog": "haze=0.75",
    "remove almost all of the fog": "haze=0.9",
    "remove the fog completely": "haze",
    "remove three quarters of the snow": "snow=0.75",
    "remove 1/4 of the snow": "snow=0.25",
    "reduce the noise by 30%": "noise=0.3",
    "reduce the noise to 30%": "noise=0.7",
    "remove the haze, but only half of it": "haze=0.5",
    "remove the haze, but only a little": "haze=0.25",
    "noise 50%, haze 20%": "noise=0.5 haze=0.2",
    "noise=0.5": "noise=0.5",
    "remove 0% of the rain": "rain=0",
    "keep half of the haze": "all haze=0.5",
    "keep a little haze": "all haze=0.75",
    "keep 20% of the grain and remove the rain": "noise=0.8 rain",
    "remove the rain, keep most of the fog": "rain haze=0.25",
    "do not remove all of the fog": "all haze=0.5",
    "don't remove the fog completely": "all haze=0.5",
    "remove half of everything": "all=0.5",
    # no order
    "": "",
    "Is there fog?": "",
    "should I remove the fog?": "",
    "How do I remove the fog?": "",
    "describe the fog": "",
    "a hazy morning": "",
    "improve quality": "",
    "enhance": "",
    "make it better": "",
    "entferne den Regen": "",
    "bitte kein denoise": "",
    "remove blur nicht": "",
    "ne pas supprimer le blur": "",
    "elimina la lluvia": "",
    "雨を消してください": "",
    "удали дождь": "",
    "remove haze but keep haze": "",
    "remove the fog but keep the mist": "",
    "keep everything. remove everything": "",
    "remove 150% of the haze": "",
    "remove -20% of the haze": "",
    "add some fog": "all haze=0",
    "make it darker": "",
    "more grain": "all noise=0",
    "remove the scratches": "",
    "remove the haze if it is strong": "",
}

CHINESE = {
    # what is removed
    "去雨": "rain",
    "去雾": "haze",
    "去噪": "noise",
    "降噪": "noise",
    "去雪": "snow",
    "去模糊": "blur",
    "除雾": "haze",
    "去除雨": "rain",
    "去掉雨和雪": "rain snow",
    "请去除雾霾。": "haze",
    "把雾去掉": "haze",
    "把雨和雾都去掉": "rain haze",
    "雨去掉": "rain",
    "消除噪点": "noise",
    "去除胶片颗粒": "noise",
    "去除压缩痕迹": "jpeg",
    "去掉马赛克和噪点": "jpeg noise",
    "提亮": "low_light",
    "照片太暗了，提亮": "low_light",
    "锐化": "blur",
    "减少噪点": "noise",
    "噪点少一点": "noise=0.25",
    "只去除雨": "rain",
    "仅去雨": "rain",
    "我想去掉雨": "rain",
    "帮我去雨": "rain",
    "能不能去掉雪？": "snow",
    "可以帮我去雾吗？": "haze",
    "不要噪点": "noise",
    "我不想要雾": "haze",
    "不要保留噪点": "noise",
    "别忘了去雨": "rain",
    "去霧": "haze",
    "全部去除": "all",
    "去除所有问题": "all",
    "去除雨，也去除雾": "rain haze",
    "有雾吗？去掉它。": "haze",
    "除了雨，还去雾": "rain haze",
    "有噪点，请处理": "noise",
    "雪山照片去雾": "haze",
    "雨夜的照片请提亮": "low_light",
    "去雨雪": "rain snow",
    # what is kept
    "保留雾": "all haze=0",
    "保留雾，只去除雨": "rain",
    "只去除雨，保留雾": "rain",
    "去雨但保留雾": "rain",
    "去除雨，雾要保留": "rain",
    "雾保留，雨去掉": "rain",
    "雨去掉雾保留": "rain",
    "留下颗粒感": "all noise=0",
    "保持夜景": "all low_light=0",
    "我喜欢颗粒": "all noise=0",
    "除了雾，其他都去除": "all haze=0",
    "除了雾都去掉": "all haze=0",
    "除雾以外全部去除": "all haze=0",
    "除了雨，其他都保留": "rain",
    "去除除了雪以外的所有问题": "all snow=0",
    "保留所有": "all=0",
    "保持原样": "all=0",
    "雾气很美，请保留": "all haze=0",
    # negations
    "不要去雾": "all haze=0",
    "不要去除雾": "all haze=0",
    "别去雾": "all haze=0",
    "雾不要去掉": "all haze=0",
    "不去雾": "all haze=0",
    "请勿去除颗粒": "all noise=0",
    "不要动雾": "all haze=0",
    "雾别动": "all haze=0",
    "我不想去掉雾": "all haze=0",
    "不用降噪": "all noise=0",
    "去雨，不要去雾": "rain",
    "去除雨而不是雾": "rain",
    "什么都不要去除": "all=0",
    "不要去除任何东西": "all=0",
    # amounts
    "去雾50%": "haze=0.5",
    "去雾５０％": "haze=0.5",
    "去除百分之五十的雾": "haze=0.5",
    "去掉一半的雾": "haze=0.5",
    "雾去掉一半": "haze=0.5",
    "把雾去掉一半": "haze=0.5",
    "去一点雾": "haze=0.25",
    "稍微去雾": "haze=0.25",
    "轻微降噪": "noise=0.25",
    "去掉一点噪点": "noise=0.25",
    "去掉大部分雾": "haze=0.75",
    "去除三分之一的雪": "snow=0.333333",
    "去掉三成的噪点": "noise=0.3",
    "噪点减少30%": "noise=0.3",
    "噪点减少到30%": "noise=0.7",
    "去掉30%的噪点和60%的雨": "noise=0.3 rain=0.6",
    "去掉一半的雾和全部的雨": "haze=0.5 rain",
    "保留一半的雾": "all haze=0.5",
    "保留一点雾，去雨": "haze=0.75 rain",
    "去雾，但只去一半": "haze=0.5",
    "完全去除雾": "haze",
    "去掉雾，但是不要全部去掉": "haze=0.5",
    "去掉雾，留一点": "haze=0.75",
    "雾霾不要动，雨雪去掉一半": "rain=0.5 snow=0.5",
    "不要完全去除雾": "all haze=0.5",
    "百分之二十去噪": "noise=0.2",
    # no order
    "有雾吗？": "",
    "要不要去雾": "",
    "去除雾但保留雾": "",
    "修复": "",
    "提高画质": "",
    "去除水印": "",
    "去除雨伞": "",
    "如果有雾就去掉": "",
    "你好": "",
    "增加雾": "all haze=0",
}


@pytest.mark.parametrize(("text", "wanted"), [*ENGLISH.items(), *CHINESE.items()])
def test_row3_a_phrase_removes_what_it_says(text: str, wanted: str) -> None:
    assert ordered_amounts(text) == pytest.approx(amounts(wanted), abs=1e-5)
    assert ordered_amounts(text.upper()) == pytest.approx(amounts(wanted), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "remove haze but keep haze",
            "The instruction contradicts itself about haze, so Restore removes all it finds.",
        ),
        ("keep the mist, remove the fog and the rain", "contradicts itself about haze, so that part is not followed."),
        ("remove everything, keep everything", "contradicts itself about everything"),
        ("remove the noise and the scratches", 'no degradation that can be removed or kept: "scratches".'),
        ("remove the noise from the sky", "Words do not choose a part of the picture"),
        ("improve quality", '"improve quality" names none of low light, haze,'),
        ("bitte kein denoise", '"bitte kein denoise" was not understood, so Restore removes all it finds:'),
        ("remove 150% of the haze", "was not understood"),
        ("remove the haze if it is strong", "was not understood"),
        ("remove the rain, add fog", 'nothing is removed because of it: "add fog".'),
        ("keep the fog, " + "a" * MAX_CHARACTERS, "only its first 2,000 characters are read"),
        ("去除雾但保留雾", "指令对雾的要求自相矛盾"),
        ("去除水印", "没有提到低光、雾、雨、雪、噪声、模糊、JPEG 伪影中的任何一种"),
        ("去掉天空的噪点", "文字不能指定图片的某个部分"),
        ("去掉噪点和水印", "“水印”不是可以去除或保留的退化"),
        ("去雨，增加雾", "没有看懂“增加雾”"),
    ],
)
def test_row3_what_is_not_understood_is_said_in_the_language_of_the_order(text: str, note: str) -> None:
    assert any(note in said for said in read_order(text).notes), read_order(text).notes


@pytest.mark.parametrize("text", ["remove half of the haze", "保留雾，只去除雨", "keep the fog, remove only the rain"])
def test_row3_an_order_that_is_understood_needs_no_note(text: str) -> None:
    assert read_order(text).notes == ()


NAMES = {"low_light": "darkness", "haze": "fog", "rain": "rain", "snow": "snow", "noise": "grain", "blur": "blur"}
CHINESE_NAMES = {"low_light": "黑暗", "haze": "雾", "rain": "雨", "snow": "雪", "noise": "噪点", "blur": "模糊"}
AMOUNTS = ("half", "50%", "a little", "一半")
AROUND = [
    *AMOUNTS,
    *("remove", "delete", "please", "everything", "the", "and", "only", "all", "of", "clean up"),
    *("Paris", "scratches", "sky", "from", "denoise", "jpeg", "artifacts", "now", "street", "去除", "照片", "的"),
]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_row3_random_text_never_crashes_and_amounts_stay_in_their_range(text: str) -> None:
    amounts = ordered_amounts(text)
    assert set(amounts) in (set(), set(DEGRADATIONS))
    assert all(0 <= amount <= 1 for amount in amounts.values())


WORDS = sorted({token.text for text in [*ENGLISH, *CHINESE] for token in tokenize(normalized(text))})


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, ", ", ". ", "? ", "150%", "-20%"]), max_size=12))
def test_row3_words_of_orders_in_any_order_never_crash(words: list[str]) -> None:
    amounts = ordered_amounts(" ".join(words))
    assert all(0 <= amount <= 1 for amount in amounts.values())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(NAMES)),
    st.lists(st.sampled_from(AROUND), max_size=6),
    st.lists(st.sampled_from(AROUND), max_size=6),
    st.sampled_from([", ", ". ", "; ", " and ", "\n"]),
    st.booleans(),
)
def test_row3_what_is_named_only_after_keep_is_never_removed(
    name: str, before: list[str], after: list[str], between: str, in_chinese: bool
) -> None:
    keep = f"保留{CHINESE_NAMES[name]}" if in_chinese else f"keep the {NAMES[name]}"
    after = [word for word in after if word not in AMOUNTS]  # "keep the fog, half" is not all of it
    words = [" ".join(word for word in part if word != "denoise" or name != "noise") for part in (before, after)]
    text = between.join(part for part in (words[0], keep, words[1]) if part)
    assert ordered_amounts(text)[name] == 0, text


@pytest.mark.parametrize("part", ["keep ", "((((", "not ", "雾去", "50% ", "a", "remove the rain and ", "\n", "...."])
def test_row3_a_very_long_text_is_read_in_no_time(part: str) -> None:
    start = time.perf_counter()
    read_order(part * (1_000_000 // len(part)))
    assert time.perf_counter() - start < 2
