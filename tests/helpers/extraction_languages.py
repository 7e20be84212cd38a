"""Holds what models say in eighteen languages: statements of a letter and of an option, denials, and yes and no."""

from __future__ import annotations

from typing import NamedTuple


class TextRow(NamedTuple):
    """Options of one language with frames that affirm one, deny one, or deny the first and affirm the second."""

    options: tuple[str, ...]
    frames: tuple[str, ...]
    denying: tuple[str, ...]
    contrasts: tuple[str, ...]


LETTER_FRAMES = {
    "es": ("Respuesta: {}", "La respuesta correcta es {}", "La respuesta es {}.", "Opción {}", "Elijo {}", "La opción correcta es la {}.", "{} es la respuesta correcta."),
    "fr": ("Réponse : {}", "La réponse est {}.", "La bonne réponse est {}", "Je choisis {}", "La réponse correcte est la {}.", "{} est la bonne réponse"),
    "de": ("Antwort: {}", "Die Antwort ist {}.", "Die richtige Antwort ist {}", "Die richtige Antwort lautet {}", "Ich wähle {}", "{} ist richtig."),
    "pt": ("Resposta: {}", "A resposta é {}.", "A resposta correta é {}", "Alternativa correta: {}", "Escolho {}", "Opção {}"),
    "it": ("Risposta: {}", "La risposta è {}.", "La risposta corretta è {}", "Scelgo {}", "La risposta giusta è la {}."),
    "ru": ("Ответ: {}", "Правильный ответ — {}", "Правильный ответ: {}", "Мой ответ {}.", "Я выбираю {}", "Вариант {}"),
    "uk": ("Відповідь: {}", "Правильна відповідь — {}", "Правильна відповідь: {}.", "Я обираю {}", "Варіант {}"),
    "pl": ("Odpowiedź: {}", "Prawidłowa odpowiedź to {}", "Poprawna odpowiedź to {}.", "Wybieram {}", "Odpowiedź {}"),
    "tr": ("Cevap: {}", "Doğru cevap {}.", "Doğru cevap: {}", "Yanıt: {}", "Cevabım {}", "Doğru cevap {}'dir."),
    "ar": ("الإجابة: {}", "الإجابة الصحيحة هي {}", "الجواب هو {}.", "الخيار الصحيح هو {}", "الإجابة هي: {}"),
    "he": ("תשובה: {}", "התשובה היא {}", "התשובה הנכונה היא {}.", "האפשרות הנכונה היא {}"),
    "hi": ("उत्तर: {}", "सही उत्तर {} है", "उत्तर {} है।", "जवाब: {}", "सही विकल्प {} है।"),
    "id": ("Jawaban: {}", "Jawaban yang benar adalah {}", "Jawabannya adalah {}.", "Saya memilih {}", "Pilihan {}"),
    "vi": ("Đáp án: {}", "Đáp án là {}", "Đáp án đúng là {}.", "Câu trả lời là {}", "Tôi chọn {}", "Câu trả lời đúng là {}"),
    "th": ("คำตอบ: {}", "คำตอบคือ {}", "คำตอบที่ถูกต้องคือ {}", "ตอบ {}", "เลือกข้อ {}"),
    "ko": ("정답: {}", "정답은 {}입니다.", "답은 {}입니다", "정답은 {} 입니다.", "답: {}", "{}가 정답입니다."),
    "ja": ("答え: {}", "答えは{}です。", "正解は{}です", "正解:{}", "回答：{}", "{}が正解です。"),
    "zh": ("答案：{}", "答案是{}", "正确答案是{}。", "我选择{}", "应该选{}", "答案为 {}", "{}是正确答案"),
}  # fmt: skip
DENYING = {
    "es": ("La respuesta no es {}", "No es la opción {}."),
    "fr": ("La réponse n'est pas {}", "Ce n'est pas (option) {}."),
    "de": ("Die Antwort ist nicht {}", "Nicht {}."),
    "pt": ("A resposta não é {}", "Não é ({})."),
    "it": ("La risposta non è {}", "Non è ({})."),
    "ru": ("Ответ не {}", "Это не ({})."),
    "uk": ("Відповідь не {}", "Це не ({})."),
    "pl": ("Odpowiedź to nie {}", "To nie ({})."),
    "tr": ("Cevap {} değil", "({}) değil."),
    "ar": ("الإجابة ليست {}", "ليس ({})"),
    "he": ("התשובה אינה {}", "זה לא ({})"),
    "hi": ("उत्तर {} नहीं है", "({}) नहीं।"),
    "id": ("Jawabannya bukan {}", "Bukan ({})."),
    "vi": ("Đáp án không phải là {}", "Không phải ({})."),
    "th": ("คำตอบไม่ใช่ {}", "ไม่ใช่ ({})"),
    "ko": ("정답은 {}가 아닙니다.", "({})가 아니다"),
    "ja": ("答えは{}ではありません。", "({})ではない"),
    "zh": ("答案不是{}", "不是({})"),
}
TEXT_ROWS = {
    "zh": TextRow(("狗叫声", "猫叫声", "鸟鸣声", "汽车声"), ("声音是{}。", "录音中可以听到{}", "答案是{}", "这是{}的声音。", "我听到了{}。", "正确答案：{}", "音频中的声音最像{}。"), ("不是{}。", "没有{}。", "录音里没有听到{}", "{}是错误的"), ("不是{}，而是{}。", "没有{}，只有{}。", "这不是{}而是{}")),
    "ja": TextRow(("犬の鳴き声", "猫の鳴き声", "鳥のさえずり", "車の音"), ("答えは{}です。", "{}が聞こえます。", "これは{}です", "正解は「{}」です。", "{}だと思います。", "音は{}でしょう。"), ("{}ではありません。", "{}は聞こえません", "{}じゃない"), ("{}ではなく、{}です。", "{}ではなく{}です")),
    "ko": TextRow(("개 짖는 소리", "고양이 소리", "새소리", "자동차 소리"), ("정답은 {}입니다.", "{}가 들립니다.", "이것은 {}입니다", "답: {}"), ("{}가 아닙니다.", "{}는 들리지 않습니다"), ("{}가 아니라 {}입니다.",)),
    "th": TextRow(("เสียงสุนัขเห่า", "เสียงแมวร้อง", "เสียงนกร้อง", "เสียงรถยนต์"), ("คำตอบคือ{}", "ได้ยิน{}", "นี่คือ{}ครับ", "คำตอบ: {}"), ("ไม่ใช่{}", "ไม่ได้ยิน{}"), ("ไม่ใช่{}แต่เป็น{}",)),
    "es": TextRow(("perro ladrando", "gato maullando", "pájaro cantando", "coche pasando"), ("La respuesta es {}.", "Se oye un {}.", "Respuesta: {}", "Creo que es un {}"), ("No es un {}.", "La respuesta no es {}"), ("No es un {}, sino un {}.",)),
    "fr": TextRow(("chien qui aboie", "chat qui miaule", "oiseau qui chante", "voiture qui passe"), ("La réponse est {}.", "On entend un {}.", "Réponse : {}"), ("Ce n'est pas un {}.",), ("Ce n'est pas un {}, mais un {}.",)),
    "de": TextRow(("Hundegebell", "Katzenmiauen", "Vogelgesang", "Autolärm"), ("Die Antwort ist {}.", "Man hört {}.", "Antwort: {}", "Das ist {}"), ("Das ist kein {}.", "Es ist nicht {}"), ("Nicht {}, sondern {}.",)),
    "pt": TextRow(("cão latindo", "gato miando", "pássaro cantando", "carro passando"), ("A resposta é {}.", "Ouve-se um {}.", "Resposta: {}"), ("Não é um {}.",), ("Não é um {}, mas um {}.",)),
    "it": TextRow(("cane che abbaia", "gatto che miagola", "uccello che canta", "auto che passa"), ("La risposta è {}.", "Si sente un {}.", "Risposta: {}"), ("Non è un {}.",), ("Non è un {}, ma un {}.",)),
    "ru": TextRow(("лай собаки", "мяуканье кошки", "пение птицы", "шум машины"), ("Ответ: {}", "Правильный ответ — {}.", "Слышен {}.", "Это {}"), ("Это не {}.",), ("Это не {}, а {}.",)),
    "uk": TextRow(("гавкіт собаки", "нявкання кота", "спів птаха", "шум машини"), ("Відповідь: {}", "Це {}.", "Чути {}"), ("Це не {}.",), ("Це не {}, а {}.",)),
    "pl": TextRow(("szczekanie psa", "miauczenie kota", "śpiew ptaka", "hałas auta"), ("Odpowiedź: {}", "To jest {}.", "Słychać {}"), ("To nie jest {}.",), ("To nie {}, ale {}.",)),
    "tr": TextRow(("köpek havlaması", "kedi miyavlaması", "kuş ötüşü", "araba sesi"), ("Cevap: {}", "Bu bir {}.", "Doğru cevap {}"), ("{} değil.",), ("{} değil, {}.",)),
    "ar": TextRow(("نباح كلب", "مواء قطة", "تغريد طائر", "صوت سيارة"), ("الإجابة: {}", "الإجابة الصحيحة هي {}.", "هذا {}"), ("ليس {}.",), ("ليس {}، بل {}.",)),
    "he": TextRow(("נביחת כלב", "יללת חתול", "ציוץ ציפור", "רעש מכונית"), ("תשובה: {}", "התשובה היא {}.", "זה {}"), ("זה לא {}.",), ("זה לא {}, אלא {}.",)),
    "hi": TextRow(("कुत्ते का भौंकना", "बिल्ली की आवाज़", "पक्षी का गाना", "कार की आवाज़"), ("उत्तर: {}", "सही उत्तर {} है।", "यह {} है"), ("यह {} नहीं है।",), ("{} नहीं, {}।",)),
    "id": TextRow(("anjing menggonggong", "kucing mengeong", "burung berkicau", "mobil lewat"), ("Jawaban: {}", "Jawabannya adalah {}.", "Terdengar {}"), ("Bukan {}.", "Tidak ada {}"), ("Bukan {}, tetapi {}.",)),
    "vi": TextRow(("chó sủa", "mèo kêu", "chim hót", "xe chạy"), ("Đáp án: {}", "Đáp án là {}.", "Tôi nghe thấy {}"), ("Không phải {}.",), ("Không phải {}, mà là {}.",)),
}  # fmt: skip
YES_NO = {
    "es": (("Sí", "No"), ("La respuesta es {}.", "Respuesta: {}", "Así que {}")),
    "fr": (("Oui", "Non"), ("La réponse est {}.", "Réponse : {}", "Donc {}")),
    "de": (("Ja", "Nein"), ("Die Antwort ist {}.", "Antwort: {}", "Also {}")),
    "pt": (("Sim", "Não"), ("A resposta é {}.", "Resposta: {}")),
    "it": (("Sì", "No"), ("La risposta è {}.", "Risposta: {}")),
    "ru": (("Да", "Нет"), ("Ответ: {}", "Мой ответ — {}.")),
    "uk": (("Так", "Ні"), ("Відповідь: {}",)),
    "pl": (("Tak", "Nie"), ("Odpowiedź: {}", "Odpowiedź to {}")),
    "tr": (("Evet", "Hayır"), ("Cevap: {}",)),
    "ar": (("نعم", "لا"), ("الإجابة: {}", "الإجابة هي {}")),
    "he": (("כן", "לא"), ("תשובה: {}", "התשובה היא {}")),
    "hi": (("हाँ", "नहीं"), ("उत्तर: {}", "उत्तर है {}")),
    "id": (("Ya", "Tidak"), ("Jawaban: {}", "Jawabannya adalah {}")),
    "vi": (("Có", "Không"), ("Đáp án: {}", "Đáp án là {}")),
    "th": (("ใช่", "ไม่ใช่"), ("คำตอบ: {}", "คำตอบคือ {}")),
    "ko": (("네", "아니요"), ("정답: {}", "정답은 {}입니다.")),
    "ja": (("はい", "いいえ"), ("答え: {}", "答えは{}です。")),
    "zh": (("是", "否"), ("答案：{}", "答案是{}")),
}
