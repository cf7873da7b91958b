"""Write the demo's raw data: a seeded, synthetic, dirty stream of shop events in daily CSV files.

Nothing here is real. The dirt is what such exports have: repeated rows, ragged rows, prices and times that are no
prices and no times, missing brands, events nobody knows.
"""

from __future__ import annotations

import random
import shutil
from datetime import datetime, timedelta
from pathlib import Path

HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
#: The folder the demo writes; any other folder is the user's own data and is left alone.
DEMO_FOLDER = Path(__file__).resolve().parent.parent / "data" / "events"
START = datetime(2019, 10, 1)
CATEGORIES = {
    "electronics.smartphone": ("samsung", "apple", "xiaomi", "huawei"),
    "electronics.audio.headphone": ("sony", "jbl", "apple"),
    "appliances.kitchen.washer": ("lg", "indesit", "bosch"),
    "computers.notebook": ("lenovo", "acer", "asus", "hp"),
    "apparel.shoes": ("respect", "baden", ""),
    "furniture.living_room.sofa": ("brw", ""),
}


def write_demo(folder: str, rows: int = 100_000, days: int = 7, seed: int = 20191001) -> dict[str, object]:
    """Write the demo's files into ``folder`` when that is the demo's own folder and still empty."""
    target = (Path(__file__).resolve().parent / folder).resolve()
    if target != DEMO_FOLDER:
        return {"written": 0, "reason": f"{target} holds data of your own"}
    if target.is_dir() and any(target.glob("*.csv")):
        return {"written": 0, "reason": f"{target} is there already"}
    return {"written": generate(target, rows, days, seed), "folder": str(target)}


def generate(target: Path, rows: int, days: int, seed: int) -> int:
    """Write about ``rows`` event rows in ``days`` files; the same arguments give the same bytes."""
    chance = random.Random(seed)
    products = [_product(chance, number) for number in range(500)]
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for day in range(days):
        lines = _day(chance, START + timedelta(days=day), products, rows // days)
        text = "\n".join([HEADER, *lines]) + "\n"
        (unfinished / f"events-{START + timedelta(days=day):%Y-%m-%d}.csv").write_text(text, encoding="utf-8")
    # One rename: a task killed half way leaves no half of a folder behind.
    if target.is_dir():
        target.rmdir()
    unfinished.rename(target)
    return rows // days * days


def _product(chance: random.Random, number: int) -> tuple[str, float]:
    code = chance.choice(list(CATEGORIES))
    brand = chance.choice(CATEGORIES[code])
    category = 2053013552 + list(CATEGORIES).index(code)
    return f"{1000 + number},{category},{code},{brand}", round(chance.uniform(5, 1500), 2)


def _day(chance: random.Random, day: datetime, products: list[tuple[str, float]], rows: int) -> list[str]:
    lines: list[str] = []
    step = 86_400 / rows
    for number in range(rows):
        dirt = chance.random()
        if dirt < 0.01 and lines:
            lines.append(chance.choice(lines[-50:]))
            continue
        time = f"{day + timedelta(seconds=int(number * step)):%Y-%m-%d %H:%M:%S} UTC"
        product, price = chance.choice(products)
        user = chance.randrange(1, 5000)
        kind = chance.choices(("view", "cart", "remove_from_cart", "purchase"), (85, 8, 2, 5))[0]
        lines.append(_line(dirt, time, kind, product, f"{price:.2f}", user, f"{user:04x}-{day:%d}-{number // 2000}"))
    return lines


def _line(dirt: float, time: str, kind: str, product: str, price: str, user: int, session: str) -> str:
    if dirt < 0.012:
        return f"{time},{kind},{product},{price}"
    if dirt < 0.014:
        return f"{time},{kind},{product},{price},{user},{session},unexpected"
    if dirt < 0.018:
        time = "yesterday"
    elif dirt < 0.022:
        price = "n/a"
    elif dirt < 0.025:
        price = f"-{price}"
    elif dirt < 0.027:
        kind = "hover"
    return f"{time},{kind},{product},{price},{user},{session}"
