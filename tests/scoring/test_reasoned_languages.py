"""Checks that `choice` follows the conclusion of texts in sixteen languages that weigh the options and conclude in words or letters.

The sentences were written for this project.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest

from marathon_eval.scoring.filters.choice import find


class Reasoning(NamedTuple):
    """Holds three options, frames that reject one ({L}, {T}), and frames that conclude with one ({M}, {U})."""

    options: tuple[str, str, str]
    rejections: tuple[str, ...]
    conclusions: tuple[str, ...]


REASONED = {
    "es": Reasoning(
        ("Ladrido de perro", "Maullido de gato", "Canto de pájaro"),
        (
            "{L}. {T}: incorrecto.",
            "La opción {L} no es correcta.",
            "No se oye {T}.",
            "{L} queda descartada.",
            "Podemos descartar {L}.",
        ),
        (
            "La respuesta es {U}.",
            "Por lo tanto, la respuesta correcta es {M}.",
            "La respuesta correcta es {M}. {U}.",
            "Respuesta: {M}",
            "Así que es {U}.",
            "La respuesta correcta es «{U}».",
        ),
    ),
    "fr": Reasoning(
        ("Aboiement de chien", "Miaulement de chat", "Chant d'oiseau"),
        (
            "{L}. {T} : incorrect.",
            "L'option {L} n'est pas correcte.",
            "On n'entend pas {T}.",
            "On peut exclure {L}.",
        ),
        (
            "La réponse est {U}.",
            "La bonne réponse est donc {M}.",
            "Réponse : {M}. {U}",
            "Donc, {U}.",
            "La réponse correcte est « {U} ».",
        ),
    ),
    "de": Reasoning(
        ("Hundebellen", "Katzenmiauen", "Vogelgesang"),
        (
            "{L}. {T}: falsch.",
            "Option {L} ist nicht richtig.",
            "{T} ist nicht zu hören.",
            "{L} kann ausgeschlossen werden.",
        ),
        (
            "Die Antwort ist {U}.",
            "Die richtige Antwort ist daher {M}.",
            "Antwort: {M}. {U}",
            "Also {U}.",
            "Die richtige Antwort lautet „{U}“.",
        ),
    ),
    "pt": Reasoning(
        ("Latido de cachorro", "Miado de gato", "Canto de pássaro"),
        (
            "{L}. {T}: incorreto.",
            "A opção {L} não está correta.",
            "Não se ouve {T}.",
            "Podemos descartar {L}.",
        ),
        ("A resposta é {U}.", "Portanto, a resposta correta é {M}.", "Resposta: {M}. {U}"),
    ),
    "it": Reasoning(
        ("Abbaio di cane", "Miagolio di gatto", "Canto di uccello"),
        ("{L}. {T}: errato.", "L'opzione {L} non è corretta.", "Non si sente {T}.", "Si può escludere {L}."),
        ("La risposta è {U}.", "Quindi la risposta corretta è {M}.", "Risposta: {M}. {U}"),
    ),
    "ru": Reasoning(
        ("Лай собаки", "Мяуканье кошки", "Пение птицы"),
        ("{L}. {T}: неверно.", "Вариант {L} неправильный.", "{T} не слышно.", "{L} можно исключить."),
        ("Ответ: {U}.", "Правильный ответ: {M}.", "Правильный ответ — {M}. {U}.", "Следовательно, это {U}."),
    ),
    "ja": Reasoning(
        ("犬の鳴き声", "猫の鳴き声", "鳥のさえずり"),
        ("{L}. {T}:不正解。", "選択肢{L}は正しくありません。", "{T}は聞こえません。", "{L}は除外できます。"),
        (
            "答えは{U}です。",
            "したがって、正解は{M}です。",
            "正解:{M}. {U}",
            "よって、{U}です。",
            "答えは「{U}」です。",
        ),
    ),
    "ko": Reasoning(
        ("개 짖는 소리", "고양이 소리", "새 소리"),
        (
            "{L}. {T}: 틀림.",
            "보기 {L}는 정답이 아닙니다.",
            "{T}는 들리지 않습니다.",
            "{L}는 제외할 수 있습니다.",
        ),
        ("정답은 {U}입니다.", "따라서 정답은 {M}입니다.", "정답: {M}. {U}", "정답은 '{U}'입니다."),
    ),
    "ar": Reasoning(
        ("نباح كلب", "مواء قطة", "تغريد طائر"),
        ("{L}. {T}: خطأ.", "الخيار {L} غير صحيح.", "{T} غير مسموع."),
        ("الإجابة هي {U}.", "الإجابة الصحيحة هي {M}.", "الإجابة: {M}. {U}"),
    ),
    "hi": Reasoning(
        ("कुत्ते का भौंकना", "बिल्ली की आवाज़", "पक्षी का गाना"),
        ("{L}. {T}: गलत।", "विकल्प {L} सही नहीं है।"),
        ("उत्तर है {U}।", "सही उत्तर {M} है।", "उत्तर: {M}. {U}"),
    ),
    "vi": Reasoning(
        ("Tiếng chó sủa", "Tiếng mèo kêu", "Tiếng chim hót"),
        ("{L}. {T}: sai.", "Phương án {L} không đúng.", "Không nghe thấy {T}."),
        ("Đáp án là {U}.", "Vì vậy, đáp án đúng là {M}.", "Đáp án: {M}. {U}"),
    ),
    "tr": Reasoning(
        ("Köpek havlaması", "Kedi miyavlaması", "Kuş sesi"),
        ("{L}. {T}: yanlış.", "{L} seçeneği doğru değil.", "{T} duyulmuyor."),
        ("Cevap {U}.", "Doğru cevap {M}.", "Cevap: {M}. {U}", "Bu nedenle doğru cevap: {U}"),
    ),
    "id": Reasoning(
        ("Gonggongan anjing", "Suara kucing", "Kicauan burung"),
        ("{L}. {T}: salah.", "Pilihan {L} tidak benar.", "{T} tidak terdengar."),
        ("Jawabannya adalah {U}.", "Jadi, jawaban yang benar adalah {M}.", "Jawaban: {M}. {U}"),
    ),
    "th": Reasoning(
        ("เสียงสุนัขเห่า", "เสียงแมวร้อง", "เสียงนกร้อง"),
        ("{L}. {T}: ผิด", "ข้อ {L} ไม่ถูกต้อง", "ไม่ได้ยิน{T}"),
        ("คำตอบคือ{U}", "คำตอบที่ถูกต้องคือ {M}", "คำตอบ: {M}. {U}"),
    ),
    "nl": Reasoning(
        ("Hondengeblaf", "Kattengemiauw", "Vogelgezang"),
        ("{L}. {T}: onjuist.", "Optie {L} is niet juist.", "{T} is niet te horen."),
        ("Het antwoord is {U}.", "Het juiste antwoord is dus {M}.", "Antwoord: {M}. {U}"),
    ),
    "pl": Reasoning(
        ("Szczekanie psa", "Miauczenie kota", "Śpiew ptaka"),
        ("{L}. {T}: błędnie.", "Opcja {L} jest niepoprawna.", "Nie słychać {T}."),
        ("Odpowiedź to {U}.", "Poprawna odpowiedź to {M}.", "Odpowiedź: {M}. {U}"),
    ),
}


@pytest.mark.parametrize("joint", [" ", "\n"])
@pytest.mark.parametrize("language", REASONED)
def test_the_conclusion_is_read(language: str, joint: str) -> None:
    options, rejections, conclusions = REASONED[language]
    wrong = {}
    for right, conclusion, first, second in product(range(3), conclusions, rejections, rejections):
        others = [place for place in range(3) if place != right]
        lines = [
            frame.format(L="ABC"[place], T=options[place])
            for frame, place in zip((first, second), others, strict=True)
        ]
        text = joint.join([*lines, conclusion.format(M="ABC"[right], U=options[right])])
        if (read := find(text, options, 3))[0] != right:
            wrong[text] = read
    assert wrong == {}
