/* Exceptions and interrupts: each command runs one experiment and prints what happened, in order. */
#define OWN_VECTORS
#include "tiny.c"

#define ICSR 0xE000ED04u
#define SHPR(n) (*(volatile uint8_t *)(0xE000ED18u + (n) - 4u))
#define IPR(n) (*(volatile uint8_t *)(0xE000E400u + (n)))
#define PENDSV (1u << 28)
#define CYCLES REG(0xE0001004)
#define TIM2 0x40000000u
#ifdef STM32L4
#define EXTI 0x40010400u
#define SYSCFG 0x40010000u
#define APB1ENR (RCC + 0x58)
#define APB2ENR (RCC + 0x60)
#define SYSCFG_BIT 0u
#define BDCR (RCC + 0x90)
#define CONTROL USART
#define USART_IRQ 70u
#else
#define EXTI 0x40013C00u
#define SYSCFG 0x40013800u
#define APB1ENR (RCC + 0x40)
#define APB2ENR (RCC + 0x44)
#define SYSCFG_BIT 14u
#define BDCR (RCC + 0x70)
#define CONTROL CR1
#ifdef STM32F7
#define USART_IRQ 39u
#else
#define USART_IRQ 38u
#endif
#endif
#define BARRIER __asm volatile("dsb\n isb" ::: "memory")
enum { A = 6, B = 7, C = 8 };                        /* EXTI0 to EXTI2: nothing drives them */

static volatile char happened[64];
static volatile uint32_t count, ticks, stamps[4];
static void note(char c) { happened[count++] = c; happened[count] = 0; }
static void pend(uint32_t n) { REG(0xE000E200u + n / 32 * 4) = 1u << n % 32; BARRIER; }
static void enable(uint32_t n) { REG(0xE000E100u + n / 32 * 4) = 1u << n % 32; }
static void report(void) { puts_((const char *)happened); puts_("\r\n"); }
static void basepri(uint32_t v) { __asm volatile("msr basepri, %0\n isb" : : "r"(v) : "memory"); }

static void systick(void) { if (ticks < 4) stamps[ticks] = CYCLES; ticks++; }
static void pendsv(void) { note('p'); }
static void isr_a(void) { note('a'); pend(C); pend(B); pend(A); note('A'); REG(0xE000E280) = 1u << A; }
static void isr_b(void) { note('b'); REG(EXTI + 0x14) = 1u << 1; }
static void isr_c(void) { note('c'); }
/* Interrupts end a sleep while they are masked, so that none comes between the look and the sleep. */
#define SLEEP_WHILE(what) do { \
  __asm volatile("cpsid i" ::: "memory"); \
  while (what) __asm volatile("wfi\n cpsie i\n isb\n cpsid i" ::: "memory"); \
  __asm volatile("cpsie i" ::: "memory"); } while (0)
static void start_systick(uint32_t reload, uint32_t control) {
  ticks = 0; REG(0xE000E014) = reload; REG(0xE000E018) = 0; REG(0xE000E010) = control;
}

static const char *volatile sending;
static void usart(void) {
  uint32_t status = REG(STATUS), control = REG(CONTROL);
  if (control & 0x20 && status & 0x20) note((char)REG(RDR));
  if (control & 0x80 && status & 0x80) {
    if (*sending) REG(TDR) = (uint8_t)*sending++;
    else REG(CONTROL) = (REG(CONTROL) & ~0x80u) | 0x40u;   /* TXE off, TC on */
  } else if (control & 0x40 && status & 0x40) { REG(CONTROL) &= ~0x40u; note('.'); }
}
static void tim2(void) {
  uint32_t flags = REG(TIM2 + 0x10);
  REG(TIM2 + 0x10) = ~flags;
  if (flags & 2) note('c');
  if (flags & 1) note('u');
}

/* Two threads on process stacks that hand over by PendSV, with floating-point state. */
static uint32_t stacks[2][256] __attribute__((aligned(8)));
uint32_t *volatile waiting;
static volatile uint32_t done;
static void yield(void) { REG(ICSR) = PENDSV; BARRIER; }
static void thread(char name, float step) {
  float x = step;
  for (int i = 0; i < 3; i++) { note(name); x += step; yield(); }
  note(x == 4 * step ? '+' : '-');
  done++;
  for (;;) yield();
}
static void second(void) { thread('2', 2.5f); }
__attribute__((naked)) static void switcher(void) {
  __asm("mrs r0, psp\n tst lr, #0x10\n it eq\n vstmdbeq r0!, {s16-s31}\n stmdb r0!, {r4-r11, lr}\n"
        "ldr r1, =waiting\n ldr r2, [r1]\n str r0, [r1]\n ldmia r2!, {r4-r11, lr}\n"
        "tst lr, #0x10\n it eq\n vldmiaeq r2!, {s16-s31}\n msr psp, r2\n bx lr\n .ltorg");
}
static void threads(void);
static volatile uint32_t *vector_table(void);

static void extra(char c) {
  count = 0; happened[0] = 0;
  switch (c) {
    case '1':                                        /* four periods of SysTick, in cycles */
      start_systick(9999, 7);
      while (ticks < 4) {}
      REG(0xE000E010) = 0;
      for (int i = 1; i < 4; i++) { hex(stamps[i] - stamps[i - 1]); put(' '); }
      puts_("\r\n");
      break;
    case '2': REG(ICSR) = PENDSV; BARRIER; note('t'); report(); break;
    case '3':
      __asm volatile("cpsid i" ::: "memory");
      REG(ICSR) = PENDSV; BARRIER; note('m');
      __asm volatile("cpsie i\n isb" ::: "memory");
      note('t'); report();
      break;
    case '4':
      SHPR(14) = 0x40;
      basepri(0x40); REG(ICSR) = PENDSV; BARRIER; note('m');
      basepri(0x50); note('n'); basepri(0); note('t'); report();
      break;
    case '5':                                        /* preemption, tail-chaining, priorities */
      IPR(A) = 0x80; IPR(B) = 0x40; IPR(C) = 0xC0; enable(A); enable(B); enable(C);
      pend(A); note('t'); report();
      break;
    case '6': {                                      /* sleep: the cycle counter stands still */
      start_systick(1000000, 7);
      uint32_t from = CYCLES;
      SLEEP_WHILE(ticks < 5);
      uint32_t used = CYCLES - from;
      REG(0xE000E010) = 0;
      hex(used < 5000); hex(ticks); puts_("\r\n");
      break; }
    case '7': threads(); report(); break;
    case '8': {                                      /* COUNTFLAG, without an interrupt */
      start_systick(499, 5);
      uint32_t from = CYCLES;
      for (int i = 0; i < 20; i++) while (!(REG(0xE000E010) & 1u << 16)) {}
      uint32_t used = CYCLES - from;
      REG(0xE000E010) = 0;
      hex(used > 9500 && used < 10500); hex(ticks); puts_("\r\n");
      break; }
    case '9':                                        /* a masked WFI ends, its handler runs later */
      __asm volatile("cpsid i" ::: "memory");
      start_systick(20000, 7);
      __asm volatile("wfi" ::: "memory");
      note(ticks ? 'x' : 'm'); note(REG(ICSR) & 1u << 26 ? 'p' : 'x');
      __asm volatile("cpsie i\n isb" ::: "memory");
      note(ticks ? 't' : 'x');
      REG(0xE000E010) = 0; report();
      break;
    case 'g':                                        /* all sub-priorities: nothing preempts */
      REG(0xE000ED0C) = 0x05FA0700u;
      IPR(A) = 0x80; IPR(B) = 0x40; IPR(C) = 0xC0; enable(A); enable(B); enable(C);
      pend(A); note('t');
      REG(0xE000ED0C) = 0x05FA0000u; report();
      break;
    case 'a':                                        /* reception by interrupts, asleep between them */
      enable(USART_IRQ); REG(CONTROL) |= 0x20u;
      SLEEP_WHILE(!count || happened[count - 1] != '%');
      REG(CONTROL) &= ~0x20u; report();
      break;
    case 'b':                                        /* transmission by interrupts */
      enable(USART_IRQ); sending = "sent by interrupts"; REG(CONTROL) |= 0x80u;
      SLEEP_WHILE(!count);
      report();
      break;
    case 'd':                                        /* compare and update, asleep between them */
      REG(APB1ENR) |= 1u;
      enable(28);
      REG(TIM2 + 0x28) = 9; REG(TIM2 + 0x2C) = 9999; REG(TIM2 + 0x14) = 1; REG(TIM2 + 0x10) = 0;
      REG(TIM2 + 0x34) = 6000; REG(TIM2 + 0x0C) = 3; REG(TIM2) = 1;
      SLEEP_WHILE(count < 6);
      REG(TIM2) = 0; REG(TIM2 + 0x0C) = 0; report();
      break;
    case 'f':                                        /* a line that software triggers */
      REG(APB2ENR) |= 1u << SYSCFG_BIT;
      REG(SYSCFG + 0x08) = 2u << 4;
      enable(B); REG(EXTI) |= 1u << 1; REG(EXTI + 0x08) |= 1u << 1;
      REG(EXTI + 0x10) = 1u << 1; BARRIER; note('t'); report();
      break;
    case 'h':                                        /* LSE gets ready; polling what never comes */
      REG(0x40007000) |= 1u << 8;                    /* DBP */
      REG(BDCR) |= 1u; while (!(REG(BDCR) & 2u)) {}
      puts_("ready\r\n");
      while (!(REG(0xE000ED08) & 1u)) {}
      break;
    default: puts_("?\r\n");
  }
}

__attribute__((section(".data"), aligned(512))) static void *ram_vectors[128];
static volatile uint32_t *vector_table(void) { return (volatile uint32_t *)ram_vectors; }
extern void *const vectors[];
static void threads(void) {
  for (int i = 0; i < 96; i++) ram_vectors[i] = vectors[i];
  vector_table()[14] = (uint32_t)switcher;
  REG(0xE000ED08) = (uint32_t)ram_vectors;
  SHPR(14) = 0xF0;
  uint32_t *frame = &stacks[1][256 - 8];
  frame[6] = (uint32_t)second & ~1u; frame[7] = 1u << 24;
  waiting = frame - 9;
  waiting[8] = 0xFFFFFFFDu;
  done = 0;
  __asm volatile("msr psp, %0\n mov r0, #2\n msr control, r0\n isb" : : "r"(&stacks[0][250]) : "r0", "memory");
  float x = 1.5f;
  for (int i = 0; i < 3; i++) { note('1'); x += 1.5f; yield(); }
  note(x == 6.0f ? '+' : '-');
  while (!done) yield();
  __asm volatile("mov r0, #0\n msr control, r0\n isb" : : : "r0", "memory");
  REG(0xE000ED08) = (uint32_t)vectors;
}

__attribute__((section(".vectors"), used)) void *const vectors[96] = {
  &stack_top, (void *)start, 0, (void *)fault, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (void *)pendsv,
  (void *)systick, [16 + A] = (void *)isr_a, (void *)isr_b, (void *)isr_c,
  [16 + 28] = (void *)tim2, [16 + USART_IRQ] = (void *)usart };
