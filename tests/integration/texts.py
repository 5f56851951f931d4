"""Twenty texts that differ in all that has gone wrong for others: length, script, emptiness, lines."""

from __future__ import annotations

MIXED = (
    "",
    " ",
    "hello",
    "The quick brown fox jumps over the lazy dog.",
    "A longer sentence, with commas; semicolons: colons - and dashes, to make some tokens.",
    "😀 🚀 👩‍👩‍👧 emoji with joiners",
    "x" * 5000,
    "word " * 1000,
    "line one\nline two\r\nline three\ttabbed",
    "今天天气很好，我们去公园散步吧。",
    "Das ist ein deutscher Satz über Äpfel, Öfen und Übermut.",
    "Это предложение на русском языке.",
    "هذه جملة باللغة العربية.",
    "これは日本語の文章です。",
    "def f(x):\n    return x ** 2  # code",
    "https://example.org/path?query=1&other=two#fragment",
    "\u0000control\u0001characters\u007f",
    "naïve café — “quoted”…",
    "1234567890 3.14159 -1e-9",
    "hello",
)
