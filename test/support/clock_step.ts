// Preloaded into a process (`node --import`). In: LEASEGATE_TEST_CLOCK_STEPS, milliseconds, and SIGUSR2. Out: a
// wall clock that is off by the next of those steps at each signal. The steady clock is left alone, as by NTP.
const steps = (process.env.LEASEGATE_TEST_CLOCK_STEPS ?? '').split(',').map(Number)
const real = Date.now
let offMs = 0

process.on('SIGUSR2', () => {
  offMs = steps.shift() ?? 0
})
Date.now = () => real() + offMs

export {}
