// Where the policy that decides comes from: a directory here; other sources keep the same contract. In: a
// place. Out: what lies there now, and when it is worth looking again. Never compiles, never decides.
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Activation } from '../ports.ts'
import { fileError, PolicyError } from './diagnostic.ts'
import { type PolicyFiles, type PolicySources, parsePolicy, readPolicyFiles } from './sources.ts'

/** What a source holds at one moment. */
export interface Reading {
  /** Equal versions: equal content. */
  readonly version: string
  /** Parses it. Throws `PolicyError` with everything wrong with it. */
  readonly sources: () => PolicySources
  /** Why this content is to be live, where somebody has activated it. */
  readonly activation?: Activation
  /** To be called once what it gave decides. Never rejects. */
  readonly accepted?: () => Promise<void>
}

/** A place that policy comes from. */
export interface PolicySource {
  /** Resolves when it is worth reading again. Rejects when aborted. */
  changed(signal: AbortSignal): Promise<void>
  /**
   * Reads what is there now. Content that cannot be had is a reading too, whose `sources` throws. Rejects
   * when aborted only.
   */
  read(signal: AbortSignal): Promise<Reading>
  /**
   * What it last gave that came to decide, kept over a restart; undefined: nothing. Asked for only at the
   * start, when `read` gave nothing that can be used. Rejects when aborted only.
   */
  kept?(signal: AbortSignal): Promise<Reading | undefined>
}

const pollMs = 150
const settleMs = 50

/** A policy directory; looked at every 150 ms while `reload` is `on_change`. */
export function directorySource(dir: string, { reload }: { reload: 'on_change' | 'never' }): PolicySource {
  let seen: string | undefined
  return {
    async changed(signal) {
      do await sleep(reload === 'never' ? 2 ** 31 - 1 : pollMs, undefined, { ref: false, signal })
      while (reload === 'never' || (await readOnce(dir)).version === seen)
    },
    async read(signal) {
      const reading = seen === undefined ? await readOnce(dir) : await readSettled(dir, signal)
      seen = reading.version
      return reading
    },
  }
}

/** Reads until two readings agree: an editor or a volume may be half-way through its changes. */
async function readSettled(dir: string, signal: AbortSignal): Promise<Reading> {
  let reading = await readOnce(dir)
  for (;;) {
    await sleep(settleMs, undefined, { signal })
    const again = await readOnce(dir)
    if (again.version === reading.version) return again
    reading = again
  }
}

async function readOnce(dir: string): Promise<Reading> {
  let files: PolicyFiles
  try {
    files = await readPolicyFiles(dir)
  } catch (thrown) {
    if (thrown instanceof PolicyError) return unreadable(`unreadable ${thrown.message}`, thrown)
    const { code } = thrown as NodeJS.ErrnoException
    return unreadable(
      `unreadable ${code}`,
      fileError('', 'policy_unreadable', `the policy directory cannot be read (${code})`),
    )
  }
  const hash = createHash('sha256')
  for (const [path, bytes] of files) hash.update(`${path}\0${bytes.byteLength}\0`).update(bytes)
  return { version: hash.digest('hex'), sources: () => parsePolicy(files) }
}

/** A reading of content that cannot be had. */
export function unreadable(version: string, problem: Error): Reading {
  return {
    version,
    sources() {
      throw problem
    },
  }
}
