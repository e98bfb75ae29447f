# ruff: noqa: E501
"""How far `fewest_tokens` stays below what tokenizers count, script by script.

    pip install bpe-openai mistral-common
    python benchmarks/tokens_of_texts.py

A server that reports fewer tokens than `fewest_tokens` cut the question. The bound must lie below
the count of every tokenizer (no false alarm), and close enough to notice a cut. Texts: the first
article of the Universal Declaration of Human Rights, and dense English.
"""

from __future__ import annotations

from saywell.language_models.requests import Message, Request
from saywell.language_models.structured import fewest_tokens

TEXTS = {
    "English": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.",
    "English, long words": "International telecommunications organizations require infrastructure improvements. Manufacturing responsibilities notwithstanding, administrative communication requirements consistently demonstrate extraordinary environmental significance.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geiste der Brüderlichkeit begegnen.",
    "Spanish": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.",
    "Arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح الإخاء.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "Chinese, set phrases": "中华人民共和国国务院关于进一步加强社会主义市场经济体制改革的有关规定，人民法院和人民政府工作人员应当严格执行相关法律法规。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.",
}


def main() -> None:
    """A line per text: characters a token, and the bound as a share of the count."""
    import bpe_openai  # pyright: ignore[reportMissingImports]
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # pyright: ignore[reportMissingImports]

    encoders = {
        "o200k": bpe_openai.get_encoding("o200k_base").encode,
        "cl100k": bpe_openai.get_encoding("cl100k_base").encode,
        "mistral": lambda text: MistralTokenizer.v1().instruct_tokenizer.tokenizer.encode(
            text, bos=False, eos=False
        ),
        "tekken": lambda text: MistralTokenizer.v3(is_tekken=True).instruct_tokenizer.tokenizer.encode(
            text, bos=False, eos=False
        ),
    }
    print(f"{'':<22}" + "".join(f"{name:>18}" for name in encoders))
    for name, text in TEXTS.items():
        many = " ".join([text] * 20)
        least = fewest_tokens(Request("s", (Message("user", many),)))
        cells = []
        for encode in encoders.values():
            count = len(encode(many))
            cells.append(f"{len(many) / count:>9.2f} {least / count:>7.0%} ")
        print(f"{name:<22}" + "".join(cells))


if __name__ == "__main__":
    main()
