"""Makes 210 pairs of reference and hypothesis in 14 languages: five sentences each, every one changed in three ways."""

from __future__ import annotations

import random
from collections.abc import Iterator

SENTENCES = {
    "de": (
        "Um acht Uhr gehen wir um die Ecke.",
        "Der Zug nach Köln fährt schon von Gleis drei ab.",
        "Es ist schön, dass die Straße so früh geräumt wurde!",
        "Großmutter erzählte, wie laut der Wind am Deich war.",
        "„Hörst du das?“, fragte sie und öffnete die Tür.",
    ),
    "fr": (
        "L'été dernier, nous avons mangé des pêches à l'ombre.",
        "Où as-tu mis la clé de la boîte aux lettres ?",
        "Le garçon a reçu une lettre très brève.",
        "Elle écoutait le bruit de la mer, puis la radio.",
        "Ça ne va pas, dit-il, le train n'est pas là.",
    ),
    "es": (
        "El niño soñaba con una montaña de nieve.",
        "¿Quién llamó ayer por la tarde?",
        "Mañana lloverá en el sur, según la radio.",
        "La canción empieza con un acordeón muy bajo.",
        "¡Qué ruido hace el camión cuando sube la cuesta!",
    ),
    "tr": (
        "Işıklar söndü ve İstanbul sessiz kaldı.",
        "Çocuğun ayağındaki küçük çan hâlâ çalıyor.",
        "Ankara'dan gelen tren yarım saat gecikti.",
        "Yağmur dün gece hiç durmadı.",
        "Iğdır yolunda güzel bir şarkı dinledik.",
    ),
    "uk": (
        "П'ять хвилин тому пролунав дзвінок.",
        "Її голос було добре чути на подвір'ї.",
        "Узимку поїзд їде повільніше, ніж улітку.",
        "Хлопець заспівав пісню про щедру ніч.",
        "Де ґанок, там і квіти, каже бабуся.",
    ),
    "el": (
        "Η φωνή της ακούγεται από μακριά.",
        "Το τρένο φεύγει στις οκτώ ακριβώς.",
        "Πού άφησες τα κλειδιά σου χθες;",
        "Το παιδί γελάει όταν βρέχει.",
        "Άκουσα τη θάλασσα όλη τη νύχτα.",
    ),
    "hi": (
        "आज का दिन बहुत लंबा था।",
        "रेलगाड़ी पाँच मिनट में स्टेशन पर पहुँचेगी।",
        "दादी ने दान में पुराना रेडियो दिया।",
        "बारिश की आवाज़ सुनकर बच्चा सो गया।",
        "क्या तुमने कल का गीत सुना?",
    ),
    "ta": (
        "மழை நேற்று இரவு முழுவதும் பெய்தது.",
        "குழந்தை மெதுவாகச் சிரித்தது.",
        "ரயில் எட்டு மணிக்குப் புறப்படும்.",
        "அவள் பாடிய பாடல் எனக்குப் பிடிக்கும்.",
        "கடலின் ஓசை வீடு வரை கேட்கிறது.",
    ),
    "bn": (
        "সকালে নদীর ধারে ঘণ্টা বাজে।",
        "ট্রেনটি আজ দশ মিনিট দেরিতে এসেছে।",
        "মেয়েটি গান গাইতে খুব ভালোবাসে।",
        "বৃষ্টির শব্দ শুনে আমি জেগে উঠলাম।",
        "তুমি কি কালকের খবর শুনেছ?",
    ),
    "th": (
        "ฝน ตก หนัก เมื่อ คืน นี้",
        "รถไฟ จะ ออก ตอน แปด โมง",
        "เด็ก น้อย ร้อง เพลง เสียง ดัง",
        "แม่ เปิด วิทยุ ฟัง ข่าว เช้า",
        "ผม ได้ยิน เสียง นก ที่ หน้าต่าง",
    ),
    "he": (
        "הַיֶּלֶד שָׁמַע אֶת הַגֶּשֶׁם.",
        "הרכבת לחיפה יוצאת בשעה שמונה.",
        "צה״ל פרסם הודעה קצרה ברדיו.",
        "סבתא שרה שיר ישן בערב.",
        "האם שמעת את הפעמון אתמול?",
    ),
    "ar": (
        "سَمِعَ الوَلَدُ صَوْتَ المَطَرِ.",
        "يغادر القطار الساعة الثامنة صباحًا.",
        "غنّت الجدّة أغنية قديمة في المساء.",
        "هل سمعت الجرس أمس؟",
        "صوت البحر يصل إلى البيت كلّ ليلة.",
    ),
    "zh": (
        "昨天晚上一直在下雨。",
        "去北京的火车八点开车。",
        "孩子听到钟声就笑了。",
        "奶奶在院子里唱了一首老歌。",
        "你听见海浪的声音了吗？",
    ),
    "ja": (
        "昨日の夜はずっと雨が降っていました。",
        "電車は八時ちょうどに出発します。",
        "子どもが窓の外の鳥の声を聞いた。",
        "ラジオから古い歌が流れている。",
        "海の音が家まで届きますか？",
    ),
}


def pairs() -> Iterator[tuple[str, str, str]]:
    """Yield language, reference and hypothesis: a word or sign left out, one said twice, two changed places."""
    generator = random.Random(11)
    for language, sentences in SENTENCES.items():
        for sentence in sentences:
            parts = sentence.split() if " " in sentence else list(sentence)
            place = generator.randrange(len(parts) - 1)
            glue = " " if " " in sentence else ""
            yield language, sentence, glue.join(parts[:place] + parts[place + 1 :])
            yield language, sentence, glue.join([*parts[:place], parts[place], *parts[place:]])
            swapped = [*parts[:place], parts[place + 1], parts[place], *parts[place + 2 :]]
            yield language, sentence, _without_one(glue.join(swapped), generator)


def _without_one(text: str, generator: random.Random) -> str:
    """Return the text without one of its signs, whichever the draw takes."""
    place = generator.randrange(len(text))
    return text[:place] + text[place + 1 :]
