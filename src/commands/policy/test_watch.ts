// `leasegate policy test --watch`: the tests again after every change. In: a directory and what to do with each
// reading of it. Ends with SIGINT or SIGTERM; whatever the directory holds in between does not end it.
import { setTimeout as sleep } from 'node:timers/promises'
import { directorySource, type Reading } from '../../policy/source.ts'
import { say, style, UsageError } from '../terminal.ts'

/**
 * Calls `work` with what the directory holds now and after each change. A call whose reading is out of date is
 * aborted. Resolves after a signal; rejects with the UsageError of a call.
 */
export async function watch(
  dir: string,
  work: (reading: Reading, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const ending = new AbortController()
  const end = (): void => ending.abort()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, end)
  // The source's own timers keep no process alive.
  const alive = setInterval(() => {}, 2 ** 30)
  try {
    await follow(dir, work, ending.signal)
  } catch (thrown) {
    if (!ending.signal.aborted) throw thrown
    // A terminal has echoed `^C` on the line.
    if (process.stdout.isTTY === true) say()
  } finally {
    clearInterval(alive)
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, end)
  }
}

async function follow(
  dir: string,
  work: (reading: Reading, signal: AbortSignal) => Promise<void>,
  ending: AbortSignal,
): Promise<never> {
  const source = directorySource(dir, { reload: 'on_change' })
  for (;;) {
    const reading = await source.read(ending)
    const outdated = new AbortController()
    const waiting = new AbortController()
    const changed = source.changed(AbortSignal.any([ending, waiting.signal]))
    const working = attempt(work, reading, AbortSignal.any([ending, outdated.signal]))
    try {
      await Promise.race([changed, working.then(() => changed)])
      outdated.abort()
      await working
    } finally {
      outdated.abort()
      waiting.abort()
      await Promise.allSettled([changed, working])
    }
  }
}

/** Shows what kept the tests from running; only a mistake in how the command was called ends the watch. */
async function attempt(
  work: (reading: Reading, signal: AbortSignal) => Promise<void>,
  reading: Reading,
  signal: AbortSignal,
): Promise<void> {
  if (process.stdout.isTTY === true) process.stdout.write('\x1b[2J\x1b[3J\x1b[H')
  try {
    await work(reading, signal)
  } catch (thrown) {
    if (thrown instanceof UsageError) throw thrown
    // Ctrl-C reaches the toolchain's process as well, and its end may be heard of first.
    await sleep(50)
    if (signal.aborted) return
    say(`${style.red('error')} ${thrown instanceof Error ? thrown.message : 'the tests could not be run'}`)
  }
  if (!signal.aborted) say(style.dim('waiting for a change; Ctrl-C ends'))
}
