"""Thumb mnemonics of ARMv7E-M with FPv5, by what they ask of a pipeline (ARMv7-M ARM, A7.7)."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONDITIONS = _words("eq ne hs cs lo cc mi pl vs vc hi ls ge lt gt le")
ADDITIVE = _words("add sub addw subw")
ALU = ADDITIVE | _words("adc sbc rsb and orr eor bic orn")
MOVE = _words("mov mvn movw adr neg")
SHIFT = _words("lsl lsr asr ror rrx")
COMPARE = _words("cmp cmn tst teq")
CARRY = _words("adc sbc rrx")
XT = frozenset(f"{s}xt{w}" for s in "su" for w in ("b", "h", "b16"))
XTA = frozenset(f"{s}xta{w}" for s in "su" for w in ("b", "h", "b16"))
PACK = frozenset({"pkhbt", "pkhtb"})
EARLY_BITS = _words("sbfx ubfx rbit rev rev16 revsh")
SATURATE = _words("ssat usat ssat16 usat16 qdadd qdsub")
PARALLEL = frozenset(
    f"{prefix}{op}"
    for prefix in ("s", "u", "q", "uq", "sh", "uh")
    for op in ("add8", "add16", "sub8", "sub16", "asx", "sax")
)
BITS = _words("bfi bfc clz sel usad8 usada8 qadd qsub")
HALVES = tuple(x + y for x in "bt" for y in "bt")
MULTIPLY = frozenset(
    ["mul", "smulwb", "smulwt", "smuad", "smuadx", "smusd", "smusdx", "smmul", "smmulr"]
    + [f"smul{xy}" for xy in HALVES]
)
ACCUMULATE = _words("mla mls smlad smladx smlsd smlsdx smlawb smlawt smmla smmlar smmls smmlsr") | {
    f"smla{xy}" for xy in HALVES
}
LONG = frozenset({"smull", "umull"})
LONG_ACCUMULATE = _words("smlal umlal umaal smlald smlaldx smlsld smlsldx") | {
    f"smlal{xy}" for xy in HALVES
}
LOAD_WORD = _words("ldr ldrt ldrex")
LOAD_PART = _words("ldrb ldrh ldrsb ldrsh ldrbt ldrht ldrsbt ldrsht ldrexb ldrexh")
PRELOAD = _words("pld pli pldw")
STORE = _words("str strb strh strt strbt strht")
STORE_EXCLUSIVE = _words("strex strexb strexh")
LOAD_MULTIPLE = _words("ldm ldmia ldmdb pop")
STORE_MULTIPLE = _words("stm stmia stmdb push")
FP_LOAD_MULTIPLE = _words("vldmia vldmdb vldm vpop fldmiax fldmdbx")
FP_STORE_MULTIPLE = _words("vstmia vstmdb vstm vpush fstmiax fstmdbx")
FP_MAC = _words("vmla vmls vnmla vnmls vfma vfms vfnma vfnms")
FP_ALU = _words(
    "vadd vsub vmul vnmul vabs vneg vcvt vcvtr vcvtb vcvtt vcvta vcvtm vcvtn vcvtp vmaxnm vminnm "
    "vrinta vrintm vrintn vrintp vrintr vrintx vrintz vseleq vselge vselgt vselvs"
)
LOADS = LOAD_WORD | LOAD_PART | PRELOAD | {"ldrd", "vldr"}
STORES = STORE | STORE_EXCLUSIVE | {"strd", "vstr"}
LOADS_OF_MANY = LOAD_MULTIPLE | FP_LOAD_MULTIPLE
STORES_OF_MANY = STORE_MULTIPLE | FP_STORE_MULTIPLE
DIRECT = _words("b bl cbz cbnz")
INDIRECT = _words("bx blx bxns blxns tbb tbh")
BARRIER = _words("dmb dsb isb")
SYSTEM = _words("mrs msr cpsie cpsid svc bkpt udf wfi wfe sev sevl clrex dbg hint vmrs vmsr")
HINT = _words("nop yield csdb")
