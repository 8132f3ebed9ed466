"""Keys for content."""

import hashlib
import json


def digest(*parts: object) -> str:
    """A key: the digest of bytes, or of anything JSON can say."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        piece = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        state.update(len(piece).to_bytes(8, "little") + piece)
    return state.hexdigest()
