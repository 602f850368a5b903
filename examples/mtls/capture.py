# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""capture.py INTERFACE FILE PHRASE: prints the TCP packets with payload to and from port 8080 until FILE.stop exists.

FILE is made when the capture has begun. Of each packet: who sends it to whom, and how its payload begins.
"""

import os
import select
import socket
import sys

interface, file, phrase = sys.argv[1], sys.argv[2], sys.argv[3].encode()
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((interface, 0))
open(file, "w").close()
packets = plain = 0
while select.select([wire], [], [], 0.2)[0] or not os.path.exists(file + ".stop"):
    if not select.select([wire], [], [], 0)[0]:
        continue
    frame = wire.recv(65536)
    if frame[12:14] != b"\x08\x00" or frame[23] != 6:
        continue
    head = 14 + (frame[14] & 15) * 4
    ports = int.from_bytes(frame[head : head + 2], "big"), int.from_bytes(frame[head + 2 : head + 4], "big")
    payload = frame[head + (frame[head + 12] >> 4) * 4 : 14 + int.from_bytes(frame[16:18], "big")]
    if 8080 not in ports or not payload:
        continue
    packets += 1
    plain += phrase in payload
    kind = {0x16: "TLS handshake", 0x17: "TLS application data", 0x15: "TLS alert", 0x14: "TLS change cipher spec"}
    name = kind.get(payload[0], "?") if payload[1:2] == b"\x03" else "no TLS record begins here"
    source, target = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
    print(f"  {source}:{ports[0]:<5} > {target}:{ports[1]:<5} {len(payload):5} bytes  {payload[:16].hex(' ')}  {name}")
print(f"  {packets} packets with payload; {plain} of them show '{phrase.decode()}'")
