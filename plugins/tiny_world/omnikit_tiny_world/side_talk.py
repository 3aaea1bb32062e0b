"""What a live session picks up and nobody asks the model: signs of attention, and talk to other people. Pure text.

A combination is held out as a whole: two signs of attention, a person and what he is asked, who does what and when.
"""

import random
from functools import cache
from itertools import permutations, product

from omnikit_tiny_world.sentences import texts

BACKCHANNELS = {
    "en": ("yes", "yeah", "uh huh", "mhm", "okay", "right", "i see", "sure", "aha", "of course", "really", "oh", "wow",
           "exactly", "got it", "hm", "good", "fine", "great", "all right", "um", "er"),
    "zh": ("嗯", "嗯嗯", "好", "好的", "对", "对对", "是", "是的", "哦", "啊", "明白", "知道了", "真的",
           "当然", "行", "没错", "呃", "那个"),
}  # fmt: skip
PEOPLE = {
    "en": ("anna", "tom", "mary", "peter", "dad", "mom", "lisa", "ben", "grandma", "max", "doctor", "darling"),
    "zh": ("安娜", "小明", "小红", "爸爸", "妈妈", "小李", "奶奶", "老王", "医生", "同学"),
}
ASIDES = {
    "en": ("are you coming for lunch", "the door is open", "can you close the window", "where are my shoes",
           "the soup is ready", "come over here please", "did you feed the dog", "when does your train leave",
           "do not forget your coat", "the phone is ringing", "i will call you back", "put it on the table",
           "have you seen my keys", "dinner is at seven", "please wait a minute", "turn the music down",
           "it is raining outside", "who ate all the bread", "your friend is here", "give me the bag please",
           "how was school today", "we have to go now", "do you want some tea", "that was a good film"),
    "zh": ("你来吃午饭吗", "门开着呢", "把窗户关上", "我的鞋在哪里", "汤做好了", "请过来一下",
           "你喂狗了吗", "你的火车几点开", "别忘了外套", "电话响了", "我一会儿给你打电话", "放在桌子上吧",
           "看见我的钥匙没有", "七点吃晚饭", "请等一下", "音乐小声一点", "外面下雨了", "你的朋友来了",
           "把包给我", "今天上学怎么样", "我们该走了", "要不要喝茶"),
}  # fmt: skip
ERRANDS = {
    "en": ("tell {} i am late", "tell {} we are at home", "tell {} to bring some milk", "tell {} the car is here",
           "ask {} for the key", "ask {} to come early", "say hello to {}", "call {} for me"),
    "zh": ("告诉{}我晚到", "告诉{}我们在家", "让{}买点牛奶", "跟{}说车到了",
           "跟{}要钥匙", "请{}早点来", "替我问{}好", "给{}打个电话"),
}  # fmt: skip
SPEAKERS = {"en": ("we", "they", "my parents", "the children", "the neighbors", "both of them"),
            "zh": ("我们", "他们", "我父母", "孩子们", "邻居", "他们俩")}
DEEDS = {
    "en": ("were late again", "took the bus", "went to the market", "missed the train", "had a long walk",
           "bought new chairs", "were tired", "stayed at home", "watched a film", "cleaned the kitchen"),
    "zh": ("又迟到了", "坐车去了", "去了市场", "没赶上火车", "走了很久", "买了新椅子", "很累", "待在家里",
           "看了电影", "打扫了厨房"),
}  # fmt: skip
WHEN = {"en": ("", "this morning", "last night", "on sunday", "after lunch"),
        "zh": ("", "今天早上", "昨天晚上", "星期天", "吃完饭")}
HELD = 6  # one combination of so many

Texts = tuple[str, ...]


@cache
def backchannels(language: str, seed: int) -> tuple[Texts, Texts]:
    """Give the signs of attention of training and the held-out ones: each is trained alone, some pairs are not."""
    single, space = BACKCHANNELS[language], " " if language == "en" else ""
    training, held = _divided([space.join(pair) for pair in permutations(single, 2)], f"backchannels {seed}")
    return single * (len(training) // len(single)) + training, held  # alone half of the time


@cache
def side_talk(language: str, seed: int) -> tuple[Texts, Texts]:
    """Give the talk to others of training and the held-out one."""
    space, people = " " if language == "en" else "", PEOPLE[language]
    asides = [f"{person}{space}{request}" for person, request in product(people, ASIDES[language])]
    errands = [errand.format(person) for errand, person in product(ERRANDS[language], people)]
    remarks = [_remark(language, *words) for words in product(SPEAKERS[language], DEEDS[language], WHEN[language])]
    parts = [_divided(listed, f"{name} {seed}")
             for name, listed in (("asides", asides), ("errands", errands), ("remarks", remarks))]
    return tuple(text for part in parts for text in part[0]), tuple(text for part in parts for text in part[1])


def transcript(text: str, language: str) -> str:
    """Give the words of a text that the tokenizer has as one token each: a head over its tokens transcribes no others."""
    words = text.split() if language == "en" else list(text)
    return (" " if language == "en" else "").join(word for word in words if word in _vocabulary())


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(word for text in texts() for word in (*text.split(), *text))


def _remark(language: str, who: str, what: str, when: str) -> str:
    return " ".join((who, what, when)).strip() if language == "en" else f"{who}{when}{what}"


def _divided(combinations: list[str], name: str) -> tuple[Texts, Texts]:
    """Give `HELD - 1` of `HELD` parts and the last part, in a scattered order."""
    found = list(dict.fromkeys(combinations))
    random.Random(name).shuffle(found)
    count = len(found) // HELD
    return tuple(found[count:]), tuple(found[:count])
