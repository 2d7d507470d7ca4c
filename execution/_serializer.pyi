from typing import Any, Final, final

TEXT: Final[int]
BOOLEAN: Final[int]
INT: Final[int]
ENUM: Final[int]
TEXT_OF_INT: Final[int]
CALL: Final[int]
FIXED_POINT: Final[int]
TIME: Final[int]
DAY: Final[int]
LIST: Final[int]
OBJECT: Final[int]

@final
class Serializer:
    def __new__(cls, shape: tuple[Any, ...], /) -> Serializer: ...
    def __call__(self, value: Any, /) -> Any: ...
