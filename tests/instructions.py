# ruff: noqa: E501  # a kind of instruction stands in one line
"""Instructions in writing, as Alpaca and UltraChat shape them, and the rows that no voice can speak.

    python tests/instructions.py 200 > instructions.json
"""

import json
import random
import sys

FOODS = ("lentil soup", "a fruit salad", "pancakes", "roasted carrots", "a cheese omelette", "rice with beans", "an apple pie")
LOCATIONS = ("a small harbour town", "the old library", "a mountain hut", "the night train", "a rooftop garden", "the city museum")
PEOPLE = ("my grandmother", "a new colleague", "our neighbours", "my little brother", "an old friend", "the whole team")
THINGS = ("a bicycle", "a telescope", "an umbrella", "a compass", "a violin", "a kettle", "a lighthouse", "a thermometer")
HABITS = ("sleep better", "drink more water", "read every day", "save money", "get up earlier", "learn to draw", "walk more")
TOPICS = ("how rain forms", "why leaves turn red", "what a battery does", "how bread rises", "why the sky is blue",
          "how bees find flowers", "why we dream", "how a bridge carries weight")
SHORT_TEXTS = ("The meeting moved from Monday to Thursday.", "We planted 12 trees behind the school.", "The cat slept all day.",
               "Tickets cost $7.50 for adults.", "The river rose by 3 meters in 2013.")


def _cases(chance: random.Random) -> tuple[tuple[str, str, str], ...]:
    """Give (instruction, input, output) of each kind, with other words every time."""
    food, place, person, thing = (chance.choice(words) for words in (FOODS, LOCATIONS, PEOPLE, THINGS))
    habit, topic, text = chance.choice(HABITS), chance.choice(TOPICS), chance.choice(SHORT_TEXTS)
    count, minutes, year = chance.randint(3, 9), chance.randint(10, 55), chance.randint(1850, 2020)
    price, share = chance.randint(2, 90), chance.randint(5, 95)
    return (
        (f"Give me {count} tips to {habit}.", "", f"1. Start small\n2. Pick a fixed time\n3. Tell {person}"),
        (f"How long does it take to make {food}?", "", f"It takes about {minutes} minutes (a little more for {count} people)."),
        (f"Describe {place} in one sentence.", "", f"**{place[0].upper()}{place[1:]}** is quiet, and its doors open at 9:30 am."),
        (f"Explain {topic} to {person}.", "", f"It's simple, really. Think of {thing}; it works in much the same way."),
        ("Make this sentence shorter", text, f"Shorter: {text.split()[0]} {text.split()[1]} it."),
        (f"What could {person} use {thing} for?", "", f"- At home\n- On a trip to {place}\n- As a present"),
        (f"In which year was {place} opened & by whom?", "", f"It opened in {year}, thanks to {person}."),
        (f"What is {share}% of {price * 10} euros?", "", f"{share} percent of {price * 10} is {share * price / 10}."),
        (f"Write a short invitation for {person} to try {food}.", "", f"Dear friend, come to {place} at 7:15 pm! We'll eat {food}."),
        (f"How much would {thing} cost?", "", f"You can get {thing} for about ${price}.99 – or €{price + 1} abroad."),
        (f"Say something kind about {person}", "", f"They were the 1st to help, {count} times in the 1990s/2000s e.g. with {thing}."),
    )


def good(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Give rows that can be spoken, all different, half of them as Alpaca and half as UltraChat shapes them."""
    chance = random.Random(seed)
    rows: list[dict[str, object]] = []
    earlier: set[str] = set()
    while len(rows) < count:
        instruction, given, output = chance.choice(_cases(chance))
        asked = f"{instruction.rstrip('.')}: {given}" if given else instruction
        if asked in earlier:
            continue
        earlier.add(asked)
        if len(rows) % 2:
            rows.append({"id": str(len(rows)), "data": [asked, output, "Thank you!", "You are welcome."]})
        else:
            rows.append({"instruction": instruction, "input": given, "output": output})
    return rows


BAD: dict[str, dict[str, object]] = {  # reason: row
    "code": {"instruction": "What does this do?", "input": "def f(x):\n    return x + 1", "output": "It adds one."},
    "answer: code": {"instruction": "Write a loop in Python.", "output": "```python\nfor i in range(3): print(i)\n```"},
    "link": {"instruction": "Summarise https://example.org/news for me.", "output": "It is news."},
    "answer: table": {"instruction": "Show the planets in a table.", "output": "| planet | moons |\n|---|---|\n| Mars | 2 |"},
    "formula": {"instruction": "Solve $x^2 = 9$ for x.", "output": "Three or minus three."},
    "empty question": {"instruction": "  ", "input": "", "output": "Yes."},
    "empty answer": {"instruction": "Are you there?", "output": ""},
    "question too long": {"instruction": "Please summarise this for me. " + "The meeting went on and on. " * 20, "output": "Long."},
    "answer too long": {"instruction": "Tell me everything.", "output": "It begins here and" * 40},
    "not text": {"instruction": 17, "output": "A number."},
    "unknown shape": {"prompt": "Hello?", "completion": "Hello."},
    "unreadable character '你'": {"instruction": "What does 你好 mean?", "output": "It means hello."},
    "blank to fill in": {"instruction": "The capital of France is ____.", "output": "Paris."},
    "nothing to say": {"instruction": "...?", "output": "Pardon?"},
}
TWICE: dict[str, object] = {"instruction": "What is the tallest animal?", "output": "The giraffe is."}


def mixed(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Give `count` rows, among them one for each reason in BAD and one that is there twice ("asked before")."""
    bad = [*BAD.values(), TWICE, {**TWICE, "instruction": "what is the tallest animal"}]
    rows = good(count - len(bad), seed)
    for index, row in enumerate(bad):
        rows.insert(3 + 7 * index % max(1, len(rows)), row)
    return rows


if __name__ == "__main__":
    sys.stdout.write(json.dumps(mixed(int(sys.argv[1])), indent=1) + "\n")
