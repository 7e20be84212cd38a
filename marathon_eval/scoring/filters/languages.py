"""Lists, by language, the words with which models state, deny and refuse an answer, as data.

Spaced languages are lists of words, compared without case. Chinese, Japanese, Thai and Korean are patterns, because
their words run together or carry endings.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from marathon_eval.api.lazy_pattern import lazy_pattern

#: Nouns and verbs that announce an answer: "Respuesta: C", "ich wähle C".
_ANSWER_WORDS = {
    "es": "respuesta opción opcion alternativa elección elijo escojo selecciono elegiría elegiria solución",
    "fr": "réponse reponse choix choisis choisirais sélectionne selectionne lettre",
    "de": "antwort lösung loesung wahl wähle waehle auswahl antwortmöglichkeit buchstabe nehme",
    "pt": "resposta opção opcao escolha escolho seleciono letra escolheria",
    "it": "risposta opzione scelta scelgo seleziono lettera soluzione sceglierei",
    "ru": "ответ вариант выбираю выбор выбрал буква ответа",
    "uk": "відповідь варіант обираю вибираю вибір літера",
    "pl": "odpowiedź odpowiedz odpowiedzią opcja wybieram wybór wariant litera odpowiedzi",
    "tr": "cevap cevabı cevabım yanıt yanıtı yanıtım seçenek seçeneği şık şıkkı seçiyorum seçim",
    "ar": "الإجابة الاجابة الجواب الخيار إجابتي اجابتي جوابي إجابة اجابة جواب أختار اختار خيار الحل",
    "he": "התשובה תשובה תשובתי האפשרות אפשרות בוחר בוחרת הבחירה",
    "hi": "उत्तर जवाब विकल्प चुनता चुनती",
    "id": "jawaban jawabannya jawabanku pilihan pilihannya memilih pilih opsi",
    "vi": "án lời chọn đáp trả",
    "nl": "antwoord optie keuze kies koos",
    "sv": "svar svaret alternativ alternativet väljer valet bokstav bokstaven",
    "da": "svaret svar mulighed vælger valgmulighed",
    "no": "svaret velger alternativ",
    "fi": "vastaus vastaukseni vaihtoehto valitsen valinta kirjain",
    "cs": "odpověď odpovědí možnost volba vybírám volím",
    "hu": "válasz válaszom választásom választom lehetőség opció",
    "ro": "răspuns răspunsul opțiunea opțiune aleg alegerea varianta",
    "el": "απάντηση επιλογή επιλέγω",
    "fa": "پاسخ جواب گزینه انتخاب",
    "but": "sondern sino bensì melainkan tylko lecz maar utan nýbrž vaan hanem ci а אלא بل बल्कि",
}
#: What may stand between such a word and the letter: articles, "correct", "final", and forms of "to be".
_GLUE = {
    "es": "la el es sería seria correcta correcto final mi una un letra más probable de pregunta a esta esa entonces",
    "fr": "la le l est serait bonne correcte correct finale ma mon donc probable plus c'est de juste exacte",
    "de": "die der das ist wäre richtige korrekte lautet also meine endgültige finale mein richtig wahrscheinlichste daher demnach folglich somit",
    "pt": "a o é e seria correta correto certa certo final minha mais provável de",
    "it": "la il è e' sarebbe corretta corretto giusta finale mia più probabile quindi l",
    "ru": "правильный верный это мой окончательный итоговый под буквой является скорее всего наиболее вероятный",
    "uk": "правильна правильний вірна це моя остаточна під літерою є найімовірніша",
    "pl": "prawidłowa poprawna właściwa to jest moja ostateczna końcowa brzmi prawidłową poprawną",
    "tr": "doğru en olası son benim kesin nihai",
    "ar": "الصحيحة الصحيح هي هو النهائية النهائي الأصح الصواب",
    "he": "הנכונה הנכון היא הוא הסופית שלי את ב",
    "hi": "सही है अंतिम मेरा हैः",
    "id": "yang benar adalah ialah tepat akhir saya paling yaitu huruf jadi",
    "vi": "là đúng câu cuối cùng của tôi chính xác phương nhất",
    "nl": "het de is juiste correcte goede mijn uiteindelijke dus waarschijnlijk",
    "sv": "är det rätt rätta korrekta mitt slutliga slutgiltiga alltså",
    "da": "er det rigtige korrekte mit endelige",
    "no": "er det riktige rett",
    "fi": "on oikea se lopullinen minun siis",
    "cs": "je správná to moje konečná správnou",
    "hu": "a az helyes végső szerintem tehát",
    "ro": "este e corect corectă meu final finală",
    "el": "η είναι σωστή τελική μου το ορθή",
    "fa": "درست صحیح نهایی من است این",
    "en": "the option choice letter answer is",
}
#: Words that affirm after a letter: "C es correcta", "C ist richtig", "C है".
_AFTER = {
    "es": "es la el correcta correcto respuesta opción",
    "fr": "est la bonne correcte réponse juste",
    "de": "ist die richtig korrekt richtige antwort stimmt",
    "pt": "é a o correta correto certa resposta opção",
    "it": "è la corretta giusta risposta opzione",
    "ru": "это правильный верный ответ верно правильно",
    "uk": "це правильна відповідь правильно",
    "pl": "to jest poprawna prawidłowa odpowiedź",
    "tr": "doğru cevap yanıt seçeneği seçeneğidir şıkkı şıkkıdır cevaptır doğrudur",
    "ar": "هي هو الإجابة الصحيحة صحيح صحيحة",
    "he": "היא הוא התשובה הנכונה נכונה",
    "hi": "है सही उत्तर जवाब",
    "id": "adalah jawaban yang benar",
    "vi": "là đáp án đúng",
    "nl": "is het juiste correcte antwoord juist",
    "sv": "är rätt rätta svaret svar korrekt",
    "da": "er det rigtige korrekte svar korrekt rigtigt",
    "no": "er riktig riktige svaret svar",
    "fi": "on oikea vastaus oikein",
    "cs": "je správná odpověď správně",
    "hu": "a helyes válasz",
    "ro": "este răspunsul corect corectă",
    "el": "είναι η σωστή απάντηση σωστό",
    "fa": "پاسخ درست صحیح است گزینه",
}
#: Words that deny what follows them in the same clause.
_DENIALS = {
    "es": "no ni nunca tampoco ningún ninguna sin descarto descartar",
    "fr": "pas ni jamais aucun aucune nest non sans exclure écarter",
    "de": "nicht kein keine keinen keiner keines keinem weder noch ohne nein ob",
    "pt": "não nao nem nunca nenhum nenhuma sem descartar",
    "it": "non né nessun nessuna nessuno senza escludere scartare",
    "ru": "не ни нет без нету",
    "uk": "не ні немає без",
    "pl": "nie ani bez żaden żadna",
    "tr": "ne",
    "ar": "ليس ليست لا غير لم لن ما بدون ليسا",
    "he": "לא אין אינו אינה ללא בלי איני",
    "hi": "न नहीं बिना",
    "id": "bukan tidak tanpa bukanlah tak",
    "vi": "không chẳng chưa",
    "nl": "niet geen nooit zonder noch",
    "sv": "inte ej ingen inget aldrig",
    "da": "ikke ingen intet aldri aldrig",
    "fi": "ei eikä ilman",
    "cs": "není ne nikdy žádný žádná",
    "hu": "nem nincs sem",
    "ro": "nu nici fără",
    "el": "δεν όχι χωρίς ούτε μη",
    "fa": "نه نیست بدون",
}
#: Words that deny what stands before them in the same clause.
_REJECTIONS = {
    "es": "incorrecta incorrecto falsa no descartada descartado",
    "fr": "incorrecte fausse faux nest pas exclue exclu",
    "de": "falsch nicht inkorrekt ausgeschlossen",
    "pt": "incorreta incorreto errada errado não descartada descartado",
    "it": "sbagliata sbagliato errata errato non",
    "ru": "неверно неправильно неверный неправильный не исключить исключается исключён неправильная неверна неверен",
    "uk": "неправильно невірно не неправильна неправильний невірна виключити",
    "pl": "błędna niepoprawna nie błędnie błędny błąd niepoprawny nieprawidłowa nieprawidłowy",
    "tr": "değil değildir yanlış yok yanlıştır duyulmuyor",
    "ar": "خطأ خاطئة خاطئ ليس ليست غير مستبعد",
    "he": "שגויה שגוי לא",
    "hi": "नहीं गलत",
    "id": "salah bukan tidak",
    "vi": "sai không",
    "nl": "onjuist fout niet",
    "sv": "fel felaktigt inte",
    "da": "forkert ikke feil",
    "fi": "väärin väärä ei",
    "cs": "není špatně nesprávná nesprávně",
    "hu": "nem helytelen rossz",
    "ro": "nu greșit greșită incorect incorectă",
    "el": "λάθος δεν λανθασμένη",
    "fa": "نیست غلط نادرست اشتباه",
}
#: Words with which a sentence may lead to its answer: "así que sí", "ich glaube, es ist ein Hund".
_OPENINGS = {
    "es": "así que entonces por lo tanto es la el un una creo que mi correcta respuesta opción final se oye escucha suena a",
    "fr": "donc alors cest est la le un une je pense que ma bonne réponse correcte finale on entend loption jentends l",
    "de": "also daher es ist die der das ein eine ich glaube denke meine richtige antwort lautet man hört somit höre",
    "pt": "então portanto é a o um uma eu acho que minha resposta correta opção final ouve se ouço",
    "it": "quindi allora è la il un una lo credo che mia risposta corretta opzione finale si sente sento",
    "ru": "итак значит это я думаю думаю что ответ правильный мой поэтому слышу слышно слышен вариант следовательно таким образом",
    "uk": "отже значить це я думаю що відповідь правильна моя тому чую чути",
    "pl": "więc zatem to jest myślę że odpowiedź prawidłowa poprawna moja słychać słyszę",
    "tr": "bu yüzden o bir bence cevap doğru yanıt benim cevabım yani",
    "ar": "إذن لذلك هو هي أعتقد أن الإجابة الصحيحة الجواب الصحيح هذا هذه أسمع",
    "he": "לכן אז זה זו זאת אני חושב ש התשובה היא הנכונה שומע",
    "hi": "तो इसलिए यह मुझे लगता कि उत्तर सही जवाब है",
    "id": "jadi maka ini itu adalah saya pikir jawaban jawabannya yang benar terdengar mendengar suara",
    "vi": "vậy nên đây là tôi nghĩ rằng đáp án câu trả lời đúng nghe thấy",
    "nl": "dus daarom het is de een ik denk dat mijn juiste antwoord goede uiteindelijke hoor",
    "sv": "alltså så det är en ett jag tror att mitt rätta rätt svar svaret hör",
    "da": "altså så det er en et jeg tror at mit rigtige svar svaret hører",
    "fi": "siis joten se on mielestäni oikea vastaus vastaukseni kuulen kuuluu",
    "cs": "takže tedy je to myslím že správná odpověď moje slyším",
    "hu": "tehát ez az a egy szerintem helyes válasz válaszom hallom",
    "ro": "deci așadar este un o cred că răspunsul corect meu aud",
    "el": "άρα λοιπόν είναι η το ένα νομίζω ότι σωστή απάντηση ακούω",
    "fa": "پس بنابراین این یک فکر می‌کنم که پاسخ درست است جواب",
}


def _joined(table: dict[str, str]) -> frozenset[str]:
    folded = (normalize("NFKC", words).casefold().replace("'", "") for words in table.values())
    return frozenset(word for words in folded for word in words.split())


def pattern_of(source: str) -> re.Pattern[str]:
    """Compile a pattern for texts in the normal form NFKC, which takes some Thai and Hindi letters apart."""
    return lazy_pattern(normalize("NFKC", source), re.IGNORECASE)


ANSWER_WORDS, GLUE, AFTER = _joined(_ANSWER_WORDS), _joined(_GLUE), _joined(_AFTER)
#: Words of `AFTER` that only link; another one must be there.
LINKS_AFTER = frozenset(
    [
        "es",
        "la",
        "el",
        "est",
        "le",
        "ist",
        "die",
        "é",
        "a",
        "o",
        "è",
        "это",
        "це",
        "to",
        "jest",
        "هي",
        "هو",
        "היא",
        "הוא",
        "adalah",
        "yang",
        "là",
        "is",
        "het",
        "är",
        "er",
        "det",
        "on",
        "je",
        "az",
        "este",
        "e",
        "είναι",
        "η",
        "است",
        "opción",
        "réponse",
        "resposta",
        "risposta",
    ]
)
FOREIGN_DENIALS, FOREIGN_REJECTIONS = _joined(_DENIALS), _joined(_REJECTIONS)
FOREIGN_OPENINGS = _joined(_OPENINGS)

#: Conjunctions that begin a new clause.
CONTRASTS = (
    "but however though although because while whereas yet so therefore thus hence sondern aber denn sino pero mais mas ma bensì "
    "porém aunque donc also quindi perché karena tetapi tapi melainkan nhưng lecz ale ama fakat oysa але а но итак поэтому "
    "maar want dus men för mutta koska siksi nýbrž protože hanem mert vaan dar deci αλλά άρα اما بلکه "
    "لكن بل ولكن אלא אבל लेकिन बल्कि मगर então entonces"
)

#: Statements before a letter, where words run together or carry endings.
UNSPACED_STATEMENT = pattern_of(
    r"(?:(?:正确|最终|最佳|正確|最終)?(?:的)?(?:答案|選項|选项)|正确的是|(?:应该|应|我|因此|所以|故|就|會|会)?(?:选择|選擇|选|選)"
    r"|(?:因此|所以|故|综上所述|綜上所述)[,\uff0c]?\s*(?:应该|应|應該)?(?=是|为|為)"
    r"|答え|正解|回答|解答|選択肢|答"
    r"|정답|답변|대답|해답|답|선택지|보기"
    r"|คำตอบ|ข้อที่ถูกต้อง|ข้อที่ถูก|ตัวเลือก|ตอบ|เลือก|ข้อ)"
    r"(?:は|が|として|은|는|이|으로|ที่ถูกต้อง|ที่ถูก|สุดท้าย|คือ|เป็น|ข้อ|ตัวเลือก|ของฉัน|应该|应|應該|就|便)*\s*"
    r"(?:是|为|為|选|選|คือ|ข้อ|ตัวเลือก|่)?\s*[:=\u2192]?\s*[\u300c\u300e\u3010]?\s*\Z"
)
#: What affirms a letter that it follows.
UNSPACED_AFTER = pattern_of(
    r"[\u300d\u300f\u3011)]?\s*(?:です|だ(?:\Z|[。と])|である|が正解|が正しい|が答え|を選|でしょう|と思"
    r"|입니다|이다|이라고|가 정답|이 정답|가 맞|이 맞|번(?:입니다|이)|를 선택|을 선택|라고 생각"
    r"|是正确|是正確|是对的|正确|选项正确|是答案|选项是正确|เป็นคำตอบ|คือคำตอบ|ถูกต้อง)"
)
#: Denials that stand before what they deny.
UNSPACED_BEFORE = pattern_of(
    r"(?:(?:并|並)?(?:不是|非|不为|不選|不选|不存在|不可能)|没有?|沒有?|无法|排除|除了?|既不|也不|不像|不能|不会|不(?![过過仅僅错錯断斷])|ไม่(?!ต้องสงสัย)|มิใช่|無(?!疑))"
)
#: Denials that stand behind what they deny.
UNSPACED_BEHIND = pattern_of(
    r"ではな|じゃな|ではあり|でな(?:い|く)|でもな|とは言え|(?:が|は|も|を)?(?:聞こえ|し|聞き取れ|い|あり|含まれ)(?:て(?:い)?)?(?:ない|ません)|ありません|(?<!違い)ない"
    r"|なく|間違い(?!な)|誤り|不正解"
    r"|아니|아닙|아님|아닌|않|없|틀[렸린립]|못"
    r"|是?(?:不对|不正确|不正確|错误|錯誤|错的|不是|被排除|不存在|没有|不太|不符|不匹配|不吻合|不成立|不合适)|可以?排除|を?は?除外|는?을?를? ?제외|ไม่(?:ใช่|ถูก)|ผิด"
)
_UNSURE = (
    r"no puedo (?:\w+ )?(?:determinar|saber|distinguir|decir|identificar|responder)|no se puede|no estoy segur[oa]|no (?:lo )?sé"
    r"|kann (?:ich )?(?:es |das )?nicht|nicht sicher|weiß (?:ich )?(?:es )?nicht|unklar|je ne (?:peux|sais|suis) pas|impossible de"
    r"|pas sûre?|não (?:posso|consigo|sei|tenho certeza)|non (?:posso|riesco|so|sono sicur[oa])|не могу|не знаю|не уверен|не можу"
    r"|не впевнен|nie (?:mogę|wiem|jestem pew\w+)|emin değilim|bilmiyorum|söyleyemem|لا أستطيع|لا يمكن|لا أعرف|לא יכול|לא יודע"
    r"|לא בטוח|नहीं बता|नहीं जानत|पता नहीं|tidak (?:bisa|dapat|tahu|yakin)|không thể|không (?:biết|chắc)"
    r"|weet (?:ik )?(?:het )?niet|kan (?:ik )?(?:het )?niet (?:horen|bepalen|zeggen)|niet zeker|vet (?:jag )?(?:det )?inte|kan inte (?:höra|avgöra|säga)"
    r"|ved (?:jeg )?(?:det )?ikke|vet (?:jeg )?(?:det )?ikke|kan ikke (?:høre|afgøre|avgjøre|si|sige)|en tiedä|en voi|en osaa|nevím|nemohu|nelze"
    r"|nem tudom|nem lehet|nu (?:știu|pot)|δεν (?:ξέρω|μπορώ|γνωρίζω)|نمی‌?(?:دانم|توانم)"
    r"|ไม่สามารถ|ไม่แน่ใจ|ไม่ทราบ|ไม่รู้|알 수 없|모르겠|확실하지|わかりません|分かりません|わからない|分からない|判断できません|できません"
    r"|无法|無法|不能确定|不确定|不確定|不知道|难以|難以|不清楚|听不清"
)
#: "I cannot tell" in these languages.
FOREIGN_REFUSAL = pattern_of(_UNSURE)
