"""What the kernel does with a classic BPF program, for the instructions that steering uses."""

import struct

WORD = 0xFFFFFFFF


class Machine:
    """Loads beyond the end of the datagram end the program with 0, as in the kernel."""

    def __init__(self, code: bytes, datagram: bytes) -> None:
        self.program = list(struct.iter_unpack("=HBBI", code))
        self.datagram = datagram
        self.a = self.x = 0
        self.memory: dict[int, int] = {}
        self.at = 0

    def run(self) -> int:
        while True:
            code, yes, no, k = self.program[self.at]
            self.at += 1
            match code:
                case 0x20 | 0x30:
                    size = 4 if code == 0x20 else 1
                    if k + size > len(self.datagram):
                        raise AssertionError(f"a load of {size} at {k} of {len(self.datagram)}")
                    self.a = int.from_bytes(self.datagram[k : k + size])
                case 0x16:
                    return self.a
                case 0x06:
                    return k
                case 0x05:
                    self.at += k
                case 0x15 | 0x35 | 0x45:
                    self.at += yes if self.holds(code, k) else no
                case _:
                    self.compute(code, k)

    def holds(self, code: int, k: int) -> bool:
        return {0x15: self.a == k, 0x35: self.a >= k, 0x45: bool(self.a & k)}[code]

    def compute(self, code: int, k: int) -> None:
        match code:
            case 0x80:
                self.a = len(self.datagram)
            case 0x60:
                self.a = self.memory[k]
            case 0x02:
                self.memory[k] = self.a
            case 0x24:
                self.a = self.a * k & WORD
            case 0x94:
                self.a %= k
            case 0x74:
                self.a >>= k
            case 0xAC:
                self.a ^= self.x
            case 0x07:
                self.x = self.a
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")
