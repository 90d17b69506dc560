/* nRF52: clock, code cache, 1 MHz timer, unique id, reset cause. */
#include "armv7m.h"
#include "board_config.h"
#include "nrf52.h"
#include "port.h"
#include "registers.h"

/* CLOCK, POWER. */
enum {
    TASKS_HFCLKSTART = CLOCK + 0x000u,
    EVENTS_HFCLKSTARTED = CLOCK + 0x100u,
    HFCLKSTAT = CLOCK + 0x40Cu,
    HFCLKSTAT_XTAL = 1 << 16 | 1 << 0, /* running, from the crystal */
    RESETREAS = CLOCK + 0x400u,
    APPROTECT_DISABLE = CLOCK + 0x558u,
    UICR_APPROTECT = UICR + 0x208u,
    /* Polls, not time: several milliseconds. The crystal takes about 0.4 ms, or never starts. */
    PATIENCE = 50000,
};

static port_clock_t clock = {BOARD_SYSCLK_HZ, "hfint"};
static const char *reset_cause;

uint32_t nrf52_wait(uint32_t address, uint32_t polls) {
    for (uint32_t i = 0; i < polls; i++) {
        if (REG(address) != 0u) {
            return 1;
        }
    }
    return 0;
}

/* The core runs at 64 MHz from the internal oscillator too, which is off by 1.5 % typically; then
 * port_clock() says so, and the host does not trust the latencies. */
static void start_crystal(void) {
    REG(EVENTS_HFCLKSTARTED) = 0;
    REG(TASKS_HFCLKSTART) = 1;
    (void)nrf52_wait(EVENTS_HFCLKSTARTED, PATIENCE);
    if ((REG(HFCLKSTAT) & HFCLKSTAT_XTAL) == HFCLKSTAT_XTAL) {
        clock.source = "hfxo";
    }
}

const port_clock_t *port_clock(void) {
    return &clock;
}

/* NVMC: the cache is for code alone, and off at reset. */
enum { ICACHECNF = NVMC + 0x540u, CACHEEN = 1 };

int32_t port_art(void) {
    return BOARD_HAS_ART ? (int32_t)(REG(ICACHECNF) & CACHEEN) : -1;
}

/* TIMER: 16 MHz / 2^4, all 32 bits. */
enum {
    TIMER_START = TIMER0 + 0x000u,
    TIMER_CLEAR = TIMER0 + 0x00Cu,
    TIMER_CAPTURE0 = TIMER0 + 0x040u,
    TIMER_MODE = TIMER0 + 0x504u,
    TIMER_BITMODE = TIMER0 + 0x508u,
    TIMER_PRESCALER = TIMER0 + 0x510u,
    TIMER_CC0 = TIMER0 + 0x540u,
    BITMODE_32 = 3,
};

static void start_ticks(void) {
    REG(TIMER_MODE) = 0;
    REG(TIMER_BITMODE) = BITMODE_32;
    REG(TIMER_PRESCALER) = 4;
    REG(TIMER_CLEAR) = 1;
    REG(TIMER_START) = 1;
}

uint32_t port_ticks(void) {
    REG(TIMER_CAPTURE0) = 1;
    return REG(TIMER_CC0);
}

void port_unique_id(uint32_t id[3]) {
    for (uint32_t i = 0; i < BOARD_UID_WORDS; i++) {
        id[i] = REG(BOARD_UID_ADDRESS + 4u * i);
    }
}

/* RESETREAS: the bits add up until a one is written to them; none is set by a power-on or a dip of
 * the supply. */
static const char *read_reset_cause(void) {
    static const struct {
        uint32_t bit;
        const char *name;
    } causes[] = {{1, "watchdog"}, {3, "lockup"}, {2, "software"}, {0, "pin"}};
    const uint32_t flags = REG(RESETREAS);
    REG(RESETREAS) = flags;
    for (uint32_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
        if ((flags >> causes[i].bit & 1u) != 0u) {
            return causes[i].name;
        }
    }
    return flags == 0u ? "power-on" : "unknown";
}

const char *port_reset_cause(void) {
    return reset_cause;
}

void port_init(void) {
    /* From build code Fxx on the debug port closes at each reset, until the firmware opens it too;
     * what UICR says then holds, as before that (Nordic's system_nrf52_approtect.h). */
    REG(APPROTECT_DISABLE) = REG(UICR_APPROTECT);
    reset_cause = read_reset_cause();
    start_crystal();
    REG(ICACHECNF) = BOARD_ART ? CACHEEN : 0;
    nrf52_console_init();
    port_counter_init();
    start_ticks();
}
