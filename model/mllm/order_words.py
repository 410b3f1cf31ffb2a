"""The words of orders in English and Chinese, and how a text is cut into them (our design).

Texts are compared in lower case, in Unicode's compatibility form (NFKC) and in simplified characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from ..vocabulary import DEGRADATIONS

WORDS = {
    "low_light": ("low[ _-]light", "darkness", "under-?exposure", "dimness", "gloom"),
    "haze": ("haze", "haziness", "fog(?:giness)?", "mist(?:iness)?", "smoke", "smog", "murk(?:iness)?"),
    "rain": ("rain(?:drops?|fall)?", "(?:rain )?streaks", "drizzle", "downpour"),
    "snow": ("snow(?:flakes?|fall)?", "flakes"),
    "noise": ("(?:iso )?noise", "noisiness", "(?:film )?grain(?:iness)?", "speckl(?:es?|ing)", "static"),
    "blur": ("(?:motion )?blur(?:r?iness)?", "softness", "fuzziness", "soft focus", "defocus", "bokeh", "camera shake"),
    "jpeg": (
        "jpe?g(?: blocks| art[ei]facts| compression)?",
        *("(?:compression |blocking )?art[ei]facts", "compression", "blocks", "block(?:iness|ing)", "pixell?ation"),
    ),
}
"""English nouns for each degradation, as regular expressions for lower-case text."""

ADJECTIVES = {
    "low_light": ("dark", "dim", "under-?exposed", "badly lit", "gloomy", "night(?:time)?"),
    "haze": ("hazy", "foggy", "misty", "smoky", "murky"),
    "rain": ("rainy", "raining"),
    "snow": ("snowy", "snowing"),
    "noise": ("noisy", "grainy", "speckled"),
    "blur": ("blurry", "blurred", "out of focus", "unsharp", "fuzzy"),
    "jpeg": ("compressed", "blocky", "pixell?ated"),
}
"""English adjectives for images that suffer from each."""

CHINESE_WORDS = {
    "low_light": "黑暗|昏暗|阴暗|低光照?|低照度|弱光|暗光|欠曝光?|曝光不足|光线不足|暗部",
    "haze": "雾霾|雾气|薄雾|浓雾|大雾|烟雾|灰霾|雾|霾|烟",
    "rain": "雨水|雨滴|雨点|雨丝|雨线|雨痕|雨条纹?|雨纹|雨(?![伞衣鞋林刷])",
    "snow": "雪花(?!点)|雪片|飘雪|积雪|雪(?!花点|[人橇糕])",
    "noise": "胶片颗粒|颗粒感?|噪点|噪声|噪音|杂点|杂讯|杂色|雪花点|斑点|麻点|噪",
    "blur": "运动模糊|模糊感?|虚焦|失焦|散焦|抖动|虚化|重影|糊",
    "jpeg": "(?:jpe?g ?)?(?:压缩(?:痕迹|伪影|失真|噪声|块)?|块效应|块状伪影|方块|色块|马赛克|伪影|伪像)",
}
"""Chinese nouns for each degradation."""

_CHINESE_SCENES = {
    "low_light": "(?:太|偏|很|更|有点)?暗(?!部)(?:一点|点)?|夜景|夜晚|夜色|黑夜|夜里|夜间|夜",
    "haze": "雾天|雾景|雾蒙蒙|灰蒙蒙|朦胧",
    "rain": "下着?雨|雨天|雨中|雨夜|雨景|雨巷|雨季",
    "snow": "下着?雪|雪天|雪景|雪地|雪山|雪夜|雪人|雪中",
}
_REPAIRS = {
    "low_light": "brighten|lighten|relight|illuminat|brighter|lighter",
    "haze": "de-?haz|de-?fog|de-?mist",
    "rain": "de-?rain",
    "snow": "de-?snow",
    "noise": "de-?nois|de-?grain|de-?speckl",
    "blur": "de-?blur|sharpen|sharper|unblur|refocus",
    "jpeg": "de-?block|de-?art[ei]fact|de-?pixelat",
}
_CHINESE_REPAIRS = {
    "low_light": "提亮|增亮|加亮|变亮|调亮|照亮|补光|(?:低光|暗光|弱光)增强|亮一?[点些]|更亮",
    "haze": "去雾霾?|去霾|除[雾霾](?!以外|之外|外)",
    "rain": "去雨(?![天景夜])|除雨(?!以外|之外|外|[天景夜])",
    "snow": "去雪(?![花天景夜])|除雪(?!以外|之外|外|[花天景夜])",
    "noise": "[降去减][噪杂](?:点|声|音)?|除[噪杂](?:点|声|音)?(?!以外|之外|外)",
    "blur": "锐化|变清晰|清晰化|清晰一?[点些]|更清晰|去模?糊|除模?糊(?!以外|之外|外)",
    "jpeg": "去块(?!效)|去马赛克|去伪影|去压缩(?:痕迹|伪影)?",
}

_KINDS: dict[str, tuple[str, str]] = {
    "stop": (r"[.;!?\n]+(?!\d)", "[。！？；]+"),
    "comma": (r"[,:()\"]", "[、，：“”]"),
    "ask": (
        r"describe | explain | tell | list | name | what(?:'s|s)? | which | why | how | who | whose"
        r" | is there | are there"
        r" | should (?:i|we) | do you | does it | is it",
        "要不要|是不是|有没有|是否|什么(?!都|也|东西都|东西也)|为什么|怎么|如何|哪些?|多少|多强|多大|吗|描述|说明|解释|告诉",
    ),
    "request": (r"(?:can|could|would|will) (?:you|we)", "能不能|可不可以|可否|能否|可以|能|能够"),
    "uncertain": (
        r"if | unless | when(?:ever)? | until | hardly | barely | scarcely | leave out | exclud(?:e|ing)"
        r" | less than | more than",
        "如果|假如|要是|除非|若是|不到|超过",
    ),
    "forget": (r"forget | hesitate | fail | neglect", "忘了?|忘记"),
    "negative": (
        r"(?:do|does|did|is|are|was|should|must|ca|could|would|wo|need)(?:n'?t) | do not | not | never"
        r" | cannot | without"
        r" | neither | nor | refrain(?:ing)? from | avoid(?:ing)? | stop | skip | instead of | rather than | no need to"
        r" | no longer | by no means | (?:under|in) no circumstances? | i'd hate to | hate to"
        r" | wrong to | pity to | no(?: more)?"
        r" | nobody | disable | (?:turn|switch) off | nothing(?= (?:should|must|may) )",
        "不要?|不用|无需|不必|不可以?|不能|请勿|切勿|切莫|没有?|不许|禁止|避免|不准|不应该?|不得|不想|不会|并非|而不是|而非|不是"
        "|不再|拒绝|停止|防止|以免|免得|别|勿|莫|甭|无|非|未",
    ),
    "unwanted": (
        r"(?:do not|don'?t|not) (?:want|like|need) | hate | dislike",
        "不想要|不要(?:有|出现)?|别要|不需要|不喜欢|讨厌|不想看到",
    ),
    "wanted": (r"want | like | love | prefer | enjoy | wish for", "想要|需要|喜欢|希望有|爱|要"),
    "stays": (
        r"(?:(?:be|is|are) )?(?:untouched|unchanged|intact) | (?:stays?|remains?|survives?)(?: (?:in|there))? | alone"
        r" | (?:be|is|are) (?:kept|left|preserved|retained)(?: (?:alone|in|untouched))?"
        r" | (?:be )?as (?:it|they) (?:is|are|was|were) | can stay"
        r" | (?:is|are|looks?) (?:fine|ok|okay|nice|good|great|beautiful|lovely|wanted|welcome|intended|pretty)",
        "原样|原状|不变",
    ),
    "gone": (
        r"(?:(?:be|is|are) )?(?:removed|gone|reduced|erased|eliminated|deleted|cleaned) | be taken (?:out|away)"
        r" | disappears? | vanish | go away | (?:(?<=should )|(?<=must )|(?<=to )|(?<=can ))go"
        r" | (?:is|are|looks?) (?:ugly|bad|annoying|unwanted|terrible|disturbing|too (?:strong|much|heavy|bad))",
        "",
    ),
    "touched": (r"(?:be |being )?(?:touched|changed|altered|affected|modified)", ""),
    "removal": (r"removal | reduction | suppression | elimination", ""),
    "nothing": (r"nothing", ""),
    "anything": (r"anything", "什么(?:东西)?[都也]|任何(?:东西|内容|退化)?"),
    "rest": (
        r"(?:the |all )?(?:rest|others?) | everything else | all else | anything else | whatever else | the remaining",
        "其他的?|其它的?|其余的?|别的|剩下的?|剩余的?|余下的?",
    ),
    "everything": (
        r"everything | (?:all |every |any )?(?:the )?(?:faults?|flaws?|defects?|damage|problems?|degradations?)"
        r" | all of (?:it|them|this|that) | all(?= *(?:$|[.,;!\n]|(?:but|except)\b))",
        "(?:所有|全部)的?(?:问题|缺陷|瑕疵|退化|东西)|(?:所有|全部)(?!的?[雾雨雪噪颗模霾压低黑暗])|一切(?:问题|退化)?",
    ),
    "weather": (r"weather", "天气"),
    "except": (
        r"except(?:ing)?(?: for)? | apart from | other than | besides | aside from | save for | excepted",
        "除了|除开|除却|除去?(?=.{1,8}(?:以外|之外|外))",
    ),
    "but": (r"but | however | yet | though | although", "但是|但|不过|然而|可是|而(?=保|去|不|除)"),
    "and": (
        r"and | & | plus | \+ | or | then | so | while | whereas | in addition(?: to)? | along with | together with"
        r" | as well as | also",
        "并且|并|然后|接着|以及|还有|和|与|及|或者?|同时|而且|再|还要?|也",
    ),
    "only": (r"only | just | solely | exclusively", "仅仅|只要|只是|只需|只|仅|单独"),
    "remove": (
        r"remov(?:e|es|ing) | tak(?:e|ing) (?:out|away|off) | ge?t(?:ting)? rid of | delet(?:e|ing) | eras(?:e|ing)"
        r" | eliminat(?:e|ing) | eradicat(?:e|ing) | clear(?:ing)? (?:away|up|out|off)"
        r" | strip(?:ping)?(?: away)? | kill"
        r" | los(?:e|ing) | wip(?:e|ing)(?: (?:out|away|off))? | filter(?:ing)?(?: out)? | suppress(?:ing)? | scrub"
        r" | smooth(?:ing)? (?:out|away) | do away with | rid | undo | drop(?:ping)? | deal(?:ing)? with | cut out"
        r" | tak(?:e|ing)(?= (?:the |all |all the |this |that )?\w+ (?:out|away|off)\b)",
        "去除掉?|去掉|除去|除掉|移除|消除|消掉|清除|删除|删掉|抹去|抹掉|擦除|擦掉|弄掉|弄走|拿掉|拿走|消去|滤除|滤掉|清理掉"
        "|处理掉|抑制|扣除|去干净|(?<![过上下出回进失看])去(?![年处向世哪])",
    ),
    "reduce": (
        r"reduc(?:e|es|ing) | decreas(?:e|ing) | lessen(?:ing)? | diminish(?:ing)? | lower(?:ing)? | weaken(?:ing)?"
        r" | less | fewer | minimi[sz](?:e|ing) | (?:tone|dial|turn) down | cut(?: down)? | limit(?:ing)?",
        "减少|减弱|减轻|减小|减低|减淡|降低|削弱|弱化|淡化|压低|缩减|降|减|少",
    ),
    "keep": (
        r"keep(?:s|ing)? | leav(?:e|es|ing)(?: behind| in)? | preserv(?:e|es|ing) | retain(?:ing)? | maintain(?:ing)?"
        r" | spar(?:e|ing) | protect(?:ing)?",
        "保留下?|留下|保持|留住|保存|留着|留(?!言)|维持|保护",
    ),
    "touch": (
        r"touch(?:ing)? | chang(?:e|ing) | alter(?:ing)? | affect(?:ing)? | modif(?:y|ying) | (?:mess"
        r"|tamper)(?:ing)? with",
        "改变|改动|触碰|动|碰|影响",
    ),
    "fix": (
        r"clean(?:ing)?(?: up)? | fix(?:ing)?(?: up)? | repair(?:ing)? | correct(?:ing)? | heal(?:ing)?"
        r" | treat | handle",
        "清理|处理|改掉|解决|纠正|校正|修掉",
    ),
    "improve": (
        r"improv(?:e|ing)(?: the)?(?: overall)?(?: (?:image |picture |photo )?quality)? | (?:restor"
        r"|enhanc)(?:e|ing)(?! the (?:fog|haze|mist|rain|snow|grain|noise|blur|darkness))"
        r" | beautify | optimi[sz]e | clearer | better | nicer | restoration",
        "修复|修一下|修图|修补|优化|增强|改善|提升|提高|美化|变好|更好看?|(?:提高|提升|改善)?(?:画质|图像质量|质量)(?:增强|提升)?|高清",
    ),
    "add": (
        r"add(?:ing|s)? | introduc(?:e|ing) | creat(?:e|ing) | increas(?:e|ing) | strengthen(?:ing)? | amplify(?:ing)?"
        r" | intensify(?:ing)? | boost(?:ing)? | simulat(?:e|ing) | darken(?:ing)? | darker | foggier"
        r" | hazier | blurrier"
        r" | noisier | more | (?:restor|enhanc)(?:e|ing)(?= the (?:fog|haze|mist|rain|snow|grain|noise|blur|darkness))",
        "增加|添加|加上|加强|变暗|调暗|加(?=雨|雪|雾|噪)|更多的?|(?:增强|提高|提升)(?=雾|雨|雪|噪|模糊)|多(?=一?[点些])",
    ),
    "region": (
        r"(?:in |from |on |at |of )?(?:the )?(?:upper|lower|left|right|top|bottom)"
        r"(?:[- ]hand)?(?: (?:half|part|third|quarter|side|corner|edge))?"
        r" | (?:in|from|on|at|of) (?:the|his|her|my) "
        r"(?:sky|background|foreground|cent(?:er|re)|middle|corners?|faces?|shadows?|trees?|water)",
        "左边|右边|上半部?分?|下半部?分?|天空[中里上的]*|背景[中里上的]*|前景[中里上的]*|角落[里的]*|脸[上部的]*|中间的?|中央的?",
    ),
    "harmless": (
        r"at all | (?:if|where) (?:present|any|possible|needed|necessary|there (?:is|are) any|you can) | of (?:it|them)"
        r" | more or less | nothing more | as much as possible | please no problem",
        "",
    ),
    "context": (r"from | in | on | at | for | within | inside | with", ""),
    "to": (r"to | down to", "到|至|成"),
    "benign": (
        r"details? | colou?rs? | textures? | edges? | contents? | size | natural | sharp | sharpness | quality | skin",
        "细节|颜色|色彩|纹理|边缘|内容|清晰度?|自然",
    ),
    "pronoun": (r"it | them", "它们?"),
    "copula": (r"is | are | was | were | looks? | has", "很|是|有"),
    "filler": (
        r"a | an | the | this | that | these | those | my | your | our | its | their | his | her | any | please"
        r" | kindly | rather | instead | too | really | very | now | first | second | next | finally"
        r" | i | i'd | i'm | we | you | me | us"
        r" | he | she | they | am | be | been | will | would | can | could | should | shall | must"
        r" | may | might | needs?"
        r" | let | let'?s | make | makes | get | have | had | do | does | try | trying | go | ahead"
        r" | thanks? | thank you"
        r" | hello | hi | hey | dear | ok | okay | well | maybe | perhaps | possible | much | again"
        r" | always | there | here"
        r" | up | out | off | away | as | all | both | each | either | out | ask | order | see | help"
        r" | bit | lot | amount"
        r" | strength | level | images? | pictures? | photos? | photographs? | shots? | frames?"
        r" | scans? | x-?rays? | scenes?"
        r" | version | result | effects? | layer | looks | look | kind | of | by | same | other"
        r" | more of | \w{2,}ly | jpe?g file"
        r" | mind | about | around | approximately | up to | at (?:most|least) | clean (?:picture|photo|image|street)"
        r" | what'?s (?:left|there) | that'?s | whole | entire | every | today | yes | no problem"
        r" | being | want to | apply | perform | use | run | start | doing"
        r" | would like to | like to | need to | necessary | it is | ever | -",
        "请问?|把|将|的|了|吧|呢|啊|一下|帮我|帮忙|麻烦|这张?|那张?|张|个|照片|图片|图像|相片|画面|图|里面?|中|上|我们?|你|您"
        "|想|希望|应该?|给|让|使|都|且|就|先|后|最后|部分|程度|尽量|尽可能|谢谢|你好|在|些|地|得|变|更|太|从|对|于|由|出来"
        "|掉|效果|其中|所|那么|现在|就好|就行|即可|好|首先|其次|统统|下|来|这些|那些|大约|左右|等|以外|之外|外|以",
    ),
    "foreign": (
        r"nicht | kein(?:e[nmrs]?)? | ohne | bitte | und | der | das | ein | eine[nmrs]? | entfern\w* | behalte?n?"
        r" | lass(?:en|e)? | weniger | nur | ne | pas | sans | avec | les | le | du | supprim\w* | enl[eè]v\w*"
        r" | gard(?:e|er|ez) | quit(?:a|ar|es|en) | el | los | eliminar | mantener | sin | solo | senza | rimuov\w*"
        r" | togli\w* | lascia\w* | sem | remova | remover | zonder | geen | niet | verwijder\w* | bez"
        r" | usu[nń]\w* | nie",
        "",
    ),
}
"""The kinds of words beside those of single degradations: their patterns in English (between " | ") and Chinese."""

_NUMBER = r"\d{1,6}(?:[.,]\d{1,6})?"
_CHINESE_NUMBER = "[零一二两三四五六七八九十百半]{1,5}"
_MEASURES: tuple[tuple[str, Callable[[str, str], float]], ...] = (
    (r"(-?NUMBER) ?(?:%|percent\b|per cent\b|pct\b)", lambda a, _: _float(a) / 100),
    (r"百分之(CHINESE|NUMBER)", lambda a, _: _float(a) / 100),
    (r"([一二两三四五六七八九十\d])成", lambda a, _: _float(a) / 10),
    (r"(CHINESE|\d{1,3})分之(CHINESE|\d{1,3})", lambda a, b: _share(b, a)),
    (r"(\d{1,3}) ?/ ?(\d{1,3})(?![\d/])", lambda a, b: _share(a, b)),
    (r"(?:(?<==)|(?<= )|(?<=:))((?:0|1)?\.\d{1,6}|[01])(?![\d.%/])", lambda a, _: _float(a)),
)
_VAGUE = (
    (0.9, r"(?:almost|nearly) (?:all(?: of)?|every|completely|entirely)", "几乎(?:全部|所有|完全)|绝大部分|绝大多数"),
    (0.5, r"(?:one |a )?half(?:way)? | (?:by )?half | halve", "一半|半数"),
    (1 / 3, r"(?:a|one)[ -]third", ""),
    (2 / 3, r"two[ -]thirds", ""),
    (0.25, r"(?:a |one )?(?:quarter|fourth)", ""),
    (0.75, r"three[ -](?:quarters|fourths)", ""),
    (0.2, r"(?:a|one)[ -]fifth", ""),
    (0.1, r"(?:a|one)[ -]tenth", ""),
    (
        0.25,
        r"(?:just )?a (?:little|tiny|small)(?: bit)?(?: of)? | a (?:bit|touch|tad|hint|trace)(?: of)?"
        r" | slightly | lightly"
        r" | subtly | little",
        "一点点?|稍微|少许|略微|轻微|稍稍|稍|略|些许|轻度|一些|有点|点(?=雾|雨|雪|噪|模糊)|少量",
    ),
    (
        0.5,
        r"some(?:what)? | part(?:ly|ially) | part of | gently | moderately | softly | mildly",
        "部分地?|适当|适度|一部分",
    ),
    (
        0.75,
        r"most(?:ly)?(?: of)? | largely | much of | a lot of | a great deal of | mainly",
        "大部分|大多数?|大半|多数|大量|大幅",
    ),
    (
        1.0,
        r"all(?: of)? | too (?:much|strongly|far) | completely | fully | entirely | totally | wholly"
        r" | strongly | every bit of",
        "全部|完全|彻底|所有|全都|全|干净|太多|过度|过分",
    ),
)
"""Shares in 0..1 that words mean, in English and Chinese."""

_TRADITIONAL = str.maketrans(
    "霧雜訊壓縮塊僅這張圖個帶強減處應該還銳變據壞條紋顆畫質麼嗎無與當沒來請讓對動態點聲淨煩謝將幫給問過裡邊餘樣時後難為於從區關於隻祇別於內細節顏",
    "雾杂讯压缩块仅这张图个带强减处应该还锐变据坏条纹颗画质么吗无与当没来请让对动态点声净烦谢将帮给问过里边余样时后难为于从区关于只只别于内细节颜",
)
_STRANGE = re.compile("[\u0370-\u1fff\u3041-\u30fa\u31f0-\u31ff\uac00-\ud7af\ufb50-\ufdff]")
_REST = re.compile(r"[a-z0-9\u00df-\u024f]+(?:['-][a-z0-9\u00df-\u024f]+)*|[\u3400-\u9fff]|[=\-\u2022*]")
_SCENE = r"(?: (?:scenes?|photo(?:graph)?s?|pictures?|images?|shots?|landscapes?|streets?|days?|nights?))\b"


class Token(NamedTuple):
    """A word of an order.

    Attributes:
        kind: "noun", "scene" or "repair" (of the degradation `name`), "amount" (of `share`), "word" where it is not
            known, or one of the kinds above.
        text: As it was written, in lower case.
        start: Where it begins in the text.
    """

    kind: str
    text: str
    start: int
    name: str = ""
    share: float = 1.0


def is_strange(text: str) -> bool:
    """Return whether a text has letters that neither English nor Chinese has."""
    return bool(_STRANGE.search(text))


def normalized(text: str) -> str:
    """Return a text as its words are compared: lower case, NFKC, simplified characters."""
    lowered = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'").translate(_TRADITIONAL)
    return re.sub(r"[^\S\n]+", " ", lowered).strip()


def tokenize(text: str) -> list[Token]:
    """Cut a normalized text into tokens, the longest one that is known at each place."""
    tokens, at = [], 0
    while at < len(text):
        pair = text[max(0, at - 1) : at + 1]
        begins = text[at] != " " and not (at and pair.isascii() and pair.isalnum())  # not within a Latin word
        token = _longest(text, at) if begins else None
        if token is None:
            other = _REST.match(text, at)
            token = Token("word", other.group(), at) if other else None
        if token is not None:
            tokens.append(token)
        at += len(token.text) if token else 1
    return tokens


def _longest(text: str, at: int) -> Token | None:
    best: Token | None = None
    length = 0
    is_jpeg = text.startswith("jp", at)  # the one Chinese word that may begin with a Latin letter
    for is_chinese in (False, True) if is_jpeg else (text[at] >= "\u3000",):
        for pattern, kind, name, share in _PATTERNS[is_chinese]:
            match = pattern.match(text, at)
            if match and match.end() - at > length:
                best, length = Token(kind, match.group(), at, name, share), match.end() - at
    for measure, value in _COMPILED_MEASURES:
        match = measure.match(text, at)
        if match and match.end() - at > length:
            groups = match.groups()
            length = match.end() - at
            best = Token("amount", match.group(), at, share=value(groups[0], groups[-1]))
    return best


def _float(text: str) -> float:
    """Return the value of a number in digits, or in Chinese words up to 199; NaN where it is none."""
    if text[-1:].isdigit():
        return float(text.replace(",", "."))
    if text == "半":
        return 0.5
    total, digit = 0, 0
    for sign in text:
        if sign in "十百":
            total, digit = total + max(digit, 1) * (10 if sign == "十" else 100), 0
        elif sign in "零一二三四五六七八九":
            digit = "零一二三四五六七八九".index(sign)
        elif sign == "两":
            digit = 2
        else:
            return float("nan")
    return float(total + digit)


def _share(above: str, below: str) -> float:
    return _float(above) / _float(below) if _float(below) else float("nan")


def _patterns(is_chinese: bool) -> list[tuple[re.Pattern[str], str, str, float]]:
    """Return pattern, kind, name and share of all words of a language; of equally long ones the first is taken."""
    words: list[tuple[str, str, str, str, float]] = []
    for name in DEGRADATIONS:
        scenes = " | ".join([*(rf"{noun}(?={_SCENE})" for noun in WORDS[name]), *ADJECTIVES[name]])
        repairs = " | ".join(rf"{verb}\w{{0,4}}" for verb in _REPAIRS[name].split("|"))
        words.append((scenes, _CHINESE_SCENES.get(name, ""), "scene", name, 1.0))
        words.append((" | ".join(WORDS[name]), CHINESE_WORDS[name], "noun", name, 1.0))
        words.append((repairs, _CHINESE_REPAIRS[name], "repair", name, 1.0))
    words.append((*_KINDS["everything"], "everything", "", 1.0))  # before "all" as an amount
    words += [(english, chinese, "amount", "", share) for share, english, chinese in _VAGUE]
    words += [(english, chinese, kind, "", 1.0) for kind, (english, chinese) in _KINDS.items()]
    found = []
    for english, chinese, kind, name, share in words:
        pattern = chinese if is_chinese else _english(english)
        if pattern:
            found.append((re.compile(pattern), kind, name, share))
    return found


def _english(words: str) -> str:
    """Return the pattern of words that are written apart from others, the longest first."""
    if not words or words.startswith("["):
        return words
    parts = sorted((part.strip() for part in words.split(" | ")), key=len, reverse=True)
    marks = [part for part in parts if part in _MARKS]
    end = "(?![a-z0-9]|'(?!s\\b))"  # the fog's mood
    return "|".join([rf"(?:{'|'.join(part for part in parts if part not in _MARKS)}){end}", *marks])


_MARKS = ("&", r"\+", "-")
_PATTERNS = {is_chinese: _patterns(is_chinese) for is_chinese in (False, True)}
_COMPILED_MEASURES = [
    (re.compile(pattern.replace("CHINESE", _CHINESE_NUMBER).replace("NUMBER", _NUMBER)), value)
    for pattern, value in _MEASURES
]
