/* A board's least firmware: clock, console echo, cycle counter, faults on demand. */
#include <stdint.h>

#define REG(a) (*(volatile uint32_t *)(a))
#define RCC 0x40023800u
#define PWR 0x40007000u
#define FLASHR 0x40023C00u
#define GPIO(port) (0x40020000u + 0x400u * (port))

#ifdef STM32L4
#undef RCC
#undef FLASHR
#undef GPIO
#define RCC 0x40021000u
#define FLASHR 0x40022000u
#define GPIO(port) (0x48000000u + 0x400u * (port))
#define USART 0x40008000u
#define PORT 6u
#define TX_PIN 7u
#define RX_PIN 8u
#define STATUS (USART + 0x1C)
#define RDR (USART + 0x24)
#define TDR (USART + 0x28)
#define RESET_FLAGS (RCC + 0x94)
#define RMVF (1u << 23)
#define UID 0x1FFF7590u
#elif defined(STM32F7)
#define RESET_FLAGS (RCC + 0x74)
#define RMVF (1u << 24)
#define UID 0x1FF0F420u
#define USART 0x40004800u
#define USART_BIT 18u
#define PORT 3u
#define TX_PIN 8u
#define RX_PIN 9u
#define AFR 0x24u
#define AF_VALUE 0x77u
#define AF_MASK 0xFFu
#define BRR (USART + 0x0C)
#define CR1 (USART + 0x00)
#define CR1_ON 0xDu
#define STATUS (USART + 0x1C)
#define RDR (USART + 0x24)
#define TDR (USART + 0x28)
#define PLLM 4u
#define PLLN 216u
#define LATENCY 0x307u
#define BAUD_DIV (54000000u / 115200u)
#else
#define RESET_FLAGS (RCC + 0x74)
#define RMVF (1u << 24)
#define UID 0x1FFF7A10u
#define USART 0x40004400u
#define USART_BIT 17u
#define PORT 0u
#define TX_PIN 2u
#define RX_PIN 3u
#define AFR 0x20u
#define AF_VALUE 0x7700u
#define AF_MASK 0xFF00u
#define BRR (USART + 0x08)
#define CR1 (USART + 0x0C)
#define CR1_ON 0x200Cu
#define STATUS (USART + 0x00)
#define RDR (USART + 0x04)
#define TDR (USART + 0x04)
#define PLLM 4u
#define PLLN 180u
#define LATENCY 0x705u
#define BAUD_DIV (45000000u / 115200u)
#endif

static void put(char c) { while (!(REG(STATUS) & 0x80)) {} REG(TDR) = (uint8_t)c; }
static void puts_(const char *s) { while (*s) put(*s++); }
static void hex(uint32_t v) { for (int i = 28; i >= 0; i -= 4) put("0123456789abcdef"[(v >> i) & 15]); }
static char get(void) { while (!(REG(STATUS) & 0x20)) {} return (char)REG(RDR); }

#ifdef STM32L4
static void clock(void) {
  REG(RCC + 0x58) |= 1u << 28;                       /* PWR */
  REG(PWR) |= 1u << 8; REG(PWR + 4) = 1u << 9; REG(PWR + 0x80) = 0; /* DBP, IOSV, boost */
  REG(RCC + 0x90) |= 1u; while (!(REG(RCC + 0x90) & 2u)) {}         /* LSE */
  REG(FLASHR) = 0x605u;
  REG(RCC) = (REG(RCC) & ~0xF0u) | 11u << 4 | 1u << 3; REG(RCC) |= 1u << 2; /* MSI 48 MHz */
  REG(RCC + 0x0C) = 1u | 5u << 4 | 30u << 8 | 1u << 24;
  REG(RCC) |= 1u << 24; while (!(REG(RCC) & (1u << 25))) {}
  REG(RCC + 0x08) = 8u << 4 | 3u; while ((REG(RCC + 0x08) & 0xC) != 0xC) {}
  REG(RCC + 0x08) = 3u;
}

static void console(void) {
  REG(RCC + 0x4C) |= 1u << PORT;
  REG(RCC + 0x5C) |= 1u;
  REG(GPIO(PORT)) = (REG(GPIO(PORT)) & ~(3u << 14 | 3u << 16)) | 2u << 14 | 2u << 16;
  REG(GPIO(PORT) + 0x20) = 8u << 28; REG(GPIO(PORT) + 0x24) = 8u;
  REG(USART + 0x0C) = 266667u;                       /* 256 * 120 MHz / 115200 */
  REG(USART) = 0xDu;
}
#else
static void clock(void) {
  REG(RCC + 0x40) |= 1u << 28;                       /* PWR */
  REG(RCC) |= 1u << 18; REG(RCC) |= 1u << 16;
  while (!(REG(RCC) & (1u << 17))) {}
  REG(RCC + 0x04) = PLLM | PLLN << 6 | 0u << 16 | 1u << 22 | 9u << 24;
  REG(RCC) |= 1u << 24;
  REG(PWR) |= 1u << 16; while (!(REG(PWR + 4) & (1u << 16))) {}
  REG(PWR) |= 1u << 17; while (!(REG(PWR + 4) & (1u << 17))) {}
  while (!(REG(RCC) & (1u << 25))) {}
  REG(FLASHR) = LATENCY;
  REG(RCC + 0x08) = 5u << 10 | 4u << 13;
  REG(RCC + 0x08) |= 2u;
  while ((REG(RCC + 0x08) & 0xC) != 0x8) {}
}

static void console(void) {
  REG(RCC + 0x30) |= 1u << PORT;
  REG(RCC + 0x40) |= 1u << USART_BIT;
  uint32_t m = REG(GPIO(PORT));
  m &= ~(3u << 2 * TX_PIN | 3u << 2 * RX_PIN);
  REG(GPIO(PORT)) = m | 2u << 2 * TX_PIN | 2u << 2 * RX_PIN;
  REG(GPIO(PORT) + AFR) = (REG(GPIO(PORT) + AFR) & ~AF_MASK) | AF_VALUE;
  REG(BRR) = BAUD_DIV;
  REG(CR1) = CR1_ON;
}
#endif

static void counter(void) {
  REG(0xE000EDFC) |= 1u << 24;
#ifdef STM32F7
  REG(0xE0001FB0) = 0xC5ACCE55u;
#endif
  REG(0xE0001004) = 0;
  REG(0xE0001000) |= 1u;
}

static volatile float f = 1.5f;
static uint32_t __attribute__((noinline)) work(uint32_t n) {
  uint32_t x = 12345;
  for (uint32_t i = 0; i < n; i++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; if (x & 1) x += i; }
  return x;
}
static void __attribute__((noinline)) timed(uint32_t n) {
  __asm volatile("cpsid i\n dsb\n isb" ::: "memory");
  uint32_t a = REG(0xE0001004);
  __asm volatile("" : "+r"(n) : "r"(a) : "memory");   /* the call stays between the reads */
  uint32_t x = work(n);
  __asm volatile("" : "+r"(x) : : "memory");
  uint32_t b = REG(0xE0001004);
  __asm volatile("cpsie i" ::: "memory");
  hex(b - a); put(' '); hex(x); puts_("\r\n");
}

void fault_c(uint32_t *frame) {
  puts_("fault pc="); hex(frame[6]); puts_(" cfsr="); hex(REG(0xE000ED28));
  puts_(" hfsr="); hex(REG(0xE000ED2C)); puts_("\r\n");
  frame[6] = frame[6] >> 24 == 0x08 ? frame[6] + 2 : frame[5] & ~1u; /* skip, or return */
  REG(0xE000ED28) = ~0u; REG(0xE000ED2C) = ~0u;
}
__attribute__((naked)) void fault(void) { __asm("tst lr, #4\n ite eq\n mrseq r0, msp\n mrsne r0, psp\n b fault_c"); }

#ifdef OWN_VECTORS
static void extra(char c);
#endif
extern uint32_t stack_top, data_load, data_start, data_end, bss_start, bss_end;
static uint32_t boots __attribute__((section(".noinit")));
static char after_reset[32] = "ready\r\n";

void start(void) {
  for (uint32_t *s = &data_load, *d = &data_start; d < &data_end;) *d++ = *s++;
  for (uint32_t *d = &bss_start; d < &bss_end;) *d++ = 0;
  REG(0xE000ED88) |= 0xFu << 20;
  __asm volatile("dsb\n isb");
  clock(); console(); counter();
  f = f * 2.0f;
  puts_(after_reset);
  for (;;) {
    char c = get();
    switch (c) {
      case 't': timed(200000); break;
      case 'T': timed(20000000); break;
      case 'e': for (char d = get(); d != '%'; d = get()) put(d); puts_("\r\n"); break;
      case 'u': __asm volatile("udf #1"); puts_("survived\r\n"); break;
      case 'm': __asm volatile("ldrb %0, [%1]" : "=r"(c) : "r"(0x30000000u)); puts_("survived\r\n"); break;
      case 'w': __asm volatile("strb %0, [%1]" : : "r"(c), "r"(0x08010000u)); puts_("survived\r\n"); break;
      case 'p': hex(REG(0x40001000)); break;          /* TIM6: not modelled */
      case 'q': hex(REG(USART + 0x3C)); break;        /* no such register */
      case 'l': ((void (*)(void))0x30000001)(); puts_("survived\r\n"); break;
      case 'r': REG(0xE000ED0C) = 0x05FA0004u; break;
      case 'c': hex(REG(RESET_FLAGS)); REG(RESET_FLAGS) |= RMVF; puts_("\r\n"); break;
      case 'i': hex(REG(UID)); hex(REG(UID + 4)); hex(REG(UID + 8)); puts_("\r\n"); break;
      case 's': REG(0x20008000) = work(1); __asm volatile("wfi"); break;
#ifdef OWN_VECTORS
      default: extra(c);
#else
      default: puts_("?\r\n");
#endif
    }
  }
  boots++;
}
#ifndef OWN_VECTORS
__attribute__((section(".vectors"), used)) static void *const vectors[] = {
  &stack_top, (void *)start, 0, (void *)fault, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
#endif
