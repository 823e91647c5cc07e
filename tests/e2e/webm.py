# SPDX-License-Identifier: MIT
"""A WebM file (Matroska with VP8) from pictures: just enough of the container that a browser can seek in it.

The only frames are key frames, one cluster each. A lossy WebP picture holds such a frame in its 'VP8 ' chunk, so whoever
can write WebP, as every browser's canvas, can make a video. The index (Cues) stands at the end of the file, where
programs that write it in one pass leave it: a player has to ask for it there before it can seek.

Spec: RFC 8794 (EBML), RFC 9559 (Matroska), RFC 9649 (WebP)."""
import struct


def vp8_frame(webp):
    """The VP8 key frame in a lossy WebP picture."""
    assert webp[:4] == b"RIFF" and webp[8:12] == b"WEBP", "no WebP"
    at = 12
    while at < len(webp):
        name, size = webp[at:at + 4], int.from_bytes(webp[at + 4:at + 8], "little")
        if name == b"VP8 ":
            return webp[at + 8:at + 8 + size]
        at += 8 + size + size % 2
    raise AssertionError("no lossy WebP")


def element(element_id, payload):
    """An EBML element; a number is its unsigned value, always of 8 bytes, so that no length depends on it."""
    if isinstance(payload, int):
        payload = payload.to_bytes(8, "big")
    elif isinstance(payload, float):
        payload = struct.pack(">d", payload)
    elif isinstance(payload, str):
        payload = payload.encode()
    size = (1 << 56 | len(payload)).to_bytes(8, "big")
    return element_id.to_bytes((element_id.bit_length() + 7) // 8, "big") + size + payload


def webm(frames, width, height, frame_ms):
    """The bytes of a video that shows these VP8 key frames for frame_ms each."""
    head = element(0x1A45DFA3, b"".join((
        element(0x4286, 1), element(0x42F7, 1), element(0x42F2, 4), element(0x42F3, 8),  # of EBML
        element(0x4282, "webm"), element(0x4287, 2), element(0x4285, 2))))               # of the document
    info = element(0x1549A966, b"".join((
        element(0x2AD7B1, 1_000_000), element(0x4489, float(len(frames) * frame_ms)),  # in milliseconds; Duration
        element(0x4D80, "tavi"), element(0x5741, "tavi"))))
    video = element(0xE0, element(0xB0, width) + element(0xBA, height))
    tracks = element(0x1654AE6B, element(0xAE, b"".join((
        element(0xD7, 1), element(0x73C5, 1), element(0x83, 1), element(0x9C, 0), element(0x86, "V_VP8"), video))))
    clusters = [element(0x1F43B675, element(0xE7, idx * frame_ms) + element(0xA3, b"\x81\x00\x00\x80" + frame))
                for idx, frame in enumerate(frames)]

    def seek_head(cues_at):
        entries = ((0x1549A966, len(seek_head_size)), (0x1654AE6B, len(seek_head_size) + len(info)),
                   (0x1C53BB6B, cues_at))
        return element(0x114D9B74, b"".join(
            element(0x4DBB, element(0x53AB, wanted.to_bytes(4, "big")) + element(0x53AC, at)) for wanted, at in entries))

    seek_head_size = b""
    seek_head_size = seek_head(0)  # the numbers in it do not change its length
    at = len(seek_head_size) + len(info) + len(tracks)  # everything is counted from the segment's first byte
    cues = b""
    for idx, cluster in enumerate(clusters):
        place = element(0xB7, element(0xF7, 1) + element(0xF1, at))
        cues += element(0xBB, element(0xB3, idx * frame_ms) + place)
        at += len(cluster)
    return head + element(0x18538067, b"".join(
        (seek_head(at), info, tracks, *clusters, element(0x1C53BB6B, cues))))
