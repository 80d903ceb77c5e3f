#include "textflag.h"

// Operands are in Go's order: the destination comes last.

// The bytes of a block in reverse.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $16

// What the four counters of the first register are ahead of the one before them, and those of each next one of the register before.
DATA ahead<>+0(SB)/8, $1
DATA ahead<>+8(SB)/8, $0
DATA ahead<>+16(SB)/8, $2
DATA ahead<>+24(SB)/8, $0
DATA ahead<>+32(SB)/8, $3
DATA ahead<>+40(SB)/8, $0
DATA ahead<>+48(SB)/8, $4
DATA ahead<>+56(SB)/8, $0
GLOBL ahead<>(SB), RODATA|NOPTR, $64

DATA four<>+0(SB)/8, $4
DATA four<>+8(SB)/8, $0
GLOBL four<>(SB), RODATA|NOPTR, $16

// See polynomial in gcm_amd64.go.
DATA poly<>+0(SB)/8, $1
DATA poly<>+8(SB)/8, $0xc200000000000000
GLOBL poly<>(SB), RODATA|NOPTR, $16

// One step of the key expansion (FIPS 197 section 5.2): X0 is the round key before, and becomes the next.
#define STEP(constant, offset) \
	AESKEYGENASSIST $constant, X0, X1 \
	PSHUFD $0xff, X1, X1 \
	MOVOU X0, X2          \
	PSLLO $4, X2          \
	PXOR  X2, X0          \
	PSLLO $4, X2          \
	PXOR  X2, X0          \
	PSLLO $4, X2          \
	PXOR  X2, X0          \
	PXOR  X1, X0          \
	MOVOU X0, offset(DI)

// func expand(key *byte, keys *byte)
TEXT ·expand(SB), NOSPLIT, $0-16
	MOVQ  key+0(FP), SI
	MOVQ  keys+8(FP), DI
	MOVOU (SI), X0
	MOVOU X0, (DI)
	STEP(0x01, 16)
	STEP(0x02, 32)
	STEP(0x04, 48)
	STEP(0x08, 64)
	STEP(0x10, 80)
	STEP(0x20, 96)
	STEP(0x40, 112)
	STEP(0x80, 128)
	STEP(0x1b, 144)
	STEP(0x36, 160)
	PXOR  X0, X0
	PXOR  X1, X1
	PXOR  X2, X2
	RET

// TAKE sets K1 to as many low bits as there are bytes to take of the rest in a register, and bytes to their number.
#define TAKE(rest, bytes) \
	MOVQ    $64, bytes    \
	CMPQ    rest, bytes   \
	CMOVQLT rest, bytes   \
	MOVQ    $-1, AX       \
	BZHIQ   bytes, AX, AX \
	KMOVQ   AX, K1

// ROUND is one round of 16 blocks, in four registers.
#define ROUND(key) \
	VAESENC key, Z0, Z0 \
	VAESENC key, Z1, Z1 \
	VAESENC key, Z2, Z2 \
	VAESENC key, Z3, Z3

// func crypt(dst, src *byte, n int, keys, nonce *byte, mask *[16]byte)
//
// Sixteen blocks at a time, and what is left four at a time with a mask: masked stores cost many others. The processor has several turns under way at once, as none waits for
// the one before.
TEXT ·crypt(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ keys+24(FP), R8
	MOVQ nonce+32(FP), R9
	MOVQ mask+40(FP), R12
	VBROADCASTI32X4 0(R8), Z20
	VBROADCASTI32X4 16(R8), Z21
	VBROADCASTI32X4 32(R8), Z22
	VBROADCASTI32X4 48(R8), Z23
	VBROADCASTI32X4 64(R8), Z24
	VBROADCASTI32X4 80(R8), Z25
	VBROADCASTI32X4 96(R8), Z26
	VBROADCASTI32X4 112(R8), Z27
	VBROADCASTI32X4 128(R8), Z28
	VBROADCASTI32X4 144(R8), Z29
	VBROADCASTI32X4 160(R8), Z30
	VBROADCASTI32X4 reverse<>(SB), Z31
	VBROADCASTI32X4 four<>(SB), Z19

	// The first counter block is nonce | 1 (SP 800-38D section 7.1). In reverse the counter is its lowest 32 bits.
	MOVL  0(R9), R10
	MOVQ  4(R9), R11
	MOVQ  R11, AX
	SHLQ  $32, AX
	ORQ   R10, AX
	SHRQ  $32, R11
	MOVQ  $(1<<56), R10
	ORQ   R10, R11
	VMOVQ AX, X18
	VPINSRQ $1, R11, X18, X18

	// It encrypts the tag.
	VPXORQ  X20, X18, X0
	VAESENC X21, X0, X0
	VAESENC X22, X0, X0
	VAESENC X23, X0, X0
	VAESENC X24, X0, X0
	VAESENC X25, X0, X0
	VAESENC X26, X0, X0
	VAESENC X27, X0, X0
	VAESENC X28, X0, X0
	VAESENC X29, X0, X0
	VAESENCLAST X30, X0, X0
	VMOVDQU X0, (R12)

	// The ones after it encrypt the message.
	VSHUFI64X2 $0, Z18, Z18, Z18
	VPSHUFB Z31, Z18, Z18
	VPADDD  ahead<>(SB), Z18, Z18

	CMPQ CX, $256
	JLT  cryptLoop

cryptSixteen:
	VPSHUFB Z31, Z18, Z0
	VPADDD  Z19, Z18, Z18
	VPSHUFB Z31, Z18, Z1
	VPADDD  Z19, Z18, Z18
	VPSHUFB Z31, Z18, Z2
	VPADDD  Z19, Z18, Z18
	VPSHUFB Z31, Z18, Z3
	VPADDD  Z19, Z18, Z18
	VPXORQ  Z20, Z0, Z0
	VPXORQ  Z20, Z1, Z1
	VPXORQ  Z20, Z2, Z2
	VPXORQ  Z20, Z3, Z3
	ROUND(Z21)
	ROUND(Z22)
	ROUND(Z23)
	ROUND(Z24)
	ROUND(Z25)
	ROUND(Z26)
	ROUND(Z27)
	ROUND(Z28)
	ROUND(Z29)
	VAESENCLAST Z30, Z0, Z0
	VAESENCLAST Z30, Z1, Z1
	VAESENCLAST Z30, Z2, Z2
	VAESENCLAST Z30, Z3, Z3
	VPXORQ    0(SI), Z0, Z0
	VPXORQ    64(SI), Z1, Z1
	VPXORQ    128(SI), Z2, Z2
	VPXORQ    192(SI), Z3, Z3
	VMOVDQU64 Z0, 0(DI)
	VMOVDQU64 Z1, 64(DI)
	VMOVDQU64 Z2, 128(DI)
	VMOVDQU64 Z3, 192(DI)
	ADDQ $256, SI
	ADDQ $256, DI
	SUBQ $256, CX
	CMPQ CX, $256
	JGE  cryptSixteen

cryptLoop:
	TESTQ CX, CX
	JLE   cryptDone
	TAKE(CX, R10)
	VPSHUFB Z31, Z18, Z0
	VPADDD  Z19, Z18, Z18
	VPXORQ  Z20, Z0, Z0
	VAESENC Z21, Z0, Z0
	VAESENC Z22, Z0, Z0
	VAESENC Z23, Z0, Z0
	VAESENC Z24, Z0, Z0
	VAESENC Z25, Z0, Z0
	VAESENC Z26, Z0, Z0
	VAESENC Z27, Z0, Z0
	VAESENC Z28, Z0, Z0
	VAESENC Z29, Z0, Z0
	VAESENCLAST Z30, Z0, Z0
	VMOVDQU8.Z (SI), K1, Z1
	VPXORQ     Z1, Z0, Z0
	VMOVDQU8   Z0, K1, (DI)
	ADDQ R10, SI
	ADDQ R10, DI
	SUBQ R10, CX
	JMP  cryptLoop

cryptDone:
	VPXORQ Z20, Z20, Z20
	VPXORQ Z21, Z21, Z21
	VPXORQ Z30, Z30, Z30
	VZEROUPPER
	RET

// PRODUCTS adds those of four powers and four blocks to the sums, of which Z1 is the low, Z2 the middle and Z3 the high part. VPTERNLOGQ $0x96 is the sum of three.
#define PRODUCTS(powers, blocks) \
	VPCLMULQDQ $0x00, powers, blocks, Z6 \
	VPCLMULQDQ $0x01, powers, blocks, Z7 \
	VPCLMULQDQ $0x10, powers, blocks, Z8 \
	VPCLMULQDQ $0x11, powers, blocks, Z9 \
	VPXORQ     Z6, Z1, Z1 \
	VPTERNLOGQ $0x96, Z7, Z8, Z2 \
	VPXORQ     Z9, Z3, Z3

// REDUCE makes the three sums one, in X0: the lowest 64 bits times the polynomial clear themselves, twice, and the four lanes are parts of one sum. It leaves zeros
// above X0.
#define REDUCE \
	VPCLMULQDQ $0x10, Z30, Z1, Z6 \
	VPSHUFD    $0x4e, Z1, Z1 \
	VPTERNLOGQ $0x96, Z6, Z1, Z2 \
	VPCLMULQDQ $0x10, Z30, Z2, Z6 \
	VPSHUFD    $0x4e, Z2, Z2 \
	VPTERNLOGQ $0x96, Z6, Z2, Z3 \
	VEXTRACTI64X4 $1, Z3, Y4 \
	VPXOR         Y4, Y3, Y3 \
	VEXTRACTI128  $1, Y3, X4 \
	VPXOR         X4, X3, X0

// func authenticate(tag *[16]byte, powers *element, additional *byte, nAdditional int, sealed *byte, nSealed int, mask *[16]byte)
//
// GHASH (SP 800-38D section 6.4) of the additional data, the sealed bytes and their lengths, and the mask. A turn takes up to 16 blocks: ((sum + b1) H^r + b2 H^(r-1) + … + br H), of
// which the products are added before they are reduced.
TEXT ·authenticate(SB), NOSPLIT, $0-56
	MOVQ powers+8(FP), R8
	MOVQ additional+16(FP), SI
	MOVQ nAdditional+24(FP), CX
	MOVQ sealed+32(FP), R12
	MOVQ nSealed+40(FP), R13
	MOVQ CX, DI
	SHLQ $3, DI
	MOVQ R13, BX
	SHLQ $3, BX                        // the lengths in bits
	VBROADCASTI32X4 reverse<>(SB), Z31
	VBROADCASTI32X4 poly<>(SB), Z30
	VPXORQ Z0, Z0, Z0

hashBytes:
	CMPQ CX, $256
	JLT  hashLoop
	VMOVDQU64 0(R8), Z10
	VMOVDQU64 64(R8), Z11
	VMOVDQU64 128(R8), Z12
	VMOVDQU64 192(R8), Z13

hashSixteen:
	VMOVDQU64 0(SI), Z14
	VMOVDQU64 64(SI), Z15
	VMOVDQU64 128(SI), Z16
	VMOVDQU64 192(SI), Z17
	VPSHUFB   Z31, Z15, Z15
	VPSHUFB   Z31, Z16, Z16
	VPSHUFB   Z31, Z17, Z17
	VPSHUFB   Z31, Z14, Z14
	VPCLMULQDQ $0x00, Z11, Z15, Z1
	VPCLMULQDQ $0x01, Z11, Z15, Z2
	VPCLMULQDQ $0x10, Z11, Z15, Z5
	VPCLMULQDQ $0x11, Z11, Z15, Z3
	PRODUCTS(Z12, Z16)
	PRODUCTS(Z13, Z17)
	VPXORQ     Z0, Z14, Z14            // last, since the sum is what is waited for
	PRODUCTS(Z10, Z14)
	VPXORQ     Z5, Z2, Z2
	REDUCE
	ADDQ $256, SI
	SUBQ $256, CX
	CMPQ CX, $256
	JGE  hashSixteen

hashLoop:
	TESTQ CX, CX
	JLE   hashDone
	MOVQ  $256, R9
	CMPQ  CX, R9
	CMOVQLT CX, R9                     // bytes of this turn
	SUBQ  R9, CX
	LEAQ  15(R9), R10
	SHRQ  $4, R10                      // blocks of this turn
	MOVQ  $16, R11
	SUBQ  R10, R11
	SHLQ  $4, R11
	ADDQ  R8, R11                      // where the power of the first is
	VPXORQ Z1, Z1, Z1                  // low
	VPXORQ Z2, Z2, Z2                  // middle
	VPXORQ Z3, Z3, Z3                  // high

hashFour:
	TAKE(R9, R10)
	VMOVDQU8.Z (SI), K1, Z4
	VPSHUFB    Z31, Z4, Z4
	VPXORQ     Z0, Z4, Z4
	VPXORQ     Z0, Z0, Z0
	VMOVDQU64  (R11), Z5
	PRODUCTS(Z5, Z4)
	ADDQ $64, R11
	ADDQ R10, SI
	SUBQ R10, R9
	JNZ  hashFour

	REDUCE
	JMP  hashLoop

hashDone:
	TESTQ R12, R12
	JZ    hashLengths
	MOVQ  R12, SI                      // the additional data is through, now for what is sealed
	MOVQ  R13, CX
	XORQ  R12, R12
	JMP   hashBytes

hashLengths:
	VMOVQ   BX, X4
	VPINSRQ $1, DI, X4, X4
	VPXORQ  X0, X4, X4
	VMOVDQU 240(R8), X5
	VPXORQ  Z1, Z1, Z1
	VPXORQ  Z2, Z2, Z2
	VPXORQ  Z3, Z3, Z3
	PRODUCTS(Z5, Z4)
	REDUCE
	MOVQ    tag+0(FP), DI
	MOVQ    mask+48(FP), SI
	VPSHUFB X31, X0, X0
	VPXORQ  (SI), X0, X0
	VMOVDQU X0, (DI)
	VZEROUPPER
	RET
