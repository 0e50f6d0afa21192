// In: the path of the broker's key file. Out: the keys in it, made on the first start, replaced by a rotation.
// Never prints key material, never loses a key, never uses a file that others can read.
import { randomBytes } from 'node:crypto'
import { type BigIntStats, constants } from 'node:fs'
import { link, mkdir, open, rename, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { generatePrivateJwk } from './jose.ts'
import { firstKeySet, type KeySet, maxKeyFileBytes, maxKeys, readKeySet, writeKeySet } from './key_set.ts'
import { isObject } from './text.ts'

/** The key file cannot be used; the message names the file and what to do, never its content. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError'
}

/** What a file held when it was read. */
export interface KeyFile {
  readonly keys: KeySet
  /** Another one: the file has changed. */
  readonly mark: string
}

/** A rotation takes milliseconds: whoever holds the lock for longer, milliseconds, has died. */
const staleLockMs = 30_000

/**
 * Loads the keys, or makes the first at `now` (seconds since 1970): file 0600, missing directories 0700. Several
 * processes may do so at once and all get the same. Throws `KeyFileError` for a file that group or others may
 * read or write, or that holds no P-256 keys.
 */
export function openKeyFile(file: string, now: number): Promise<KeyFile> {
  return orKeyFileError(file, async () => (await readFile(file)) ?? (await createFile(file, now)))
}

/** The keys in the file; undefined when there is none. Throws `KeyFileError` as `openKeyFile` does. */
export function readKeyFile(file: string): Promise<KeyFile | undefined> {
  return orKeyFileError(file, () => readFile(file))
}

/** Says whether the file may have changed; undefined when it is not there. Throws `KeyFileError`. */
export function markOf(file: string): Promise<string | undefined> {
  return orKeyFileError(file, async () => {
    const found = await stat(file, { bigint: true }).catch(unlessMissing)
    return found && writeMark(found)
  })
}

/**
 * Replaces the keys by what `change` makes of them, whole, one process at a time. `change` may see other keys
 * than the caller did; undefined: they stay. Returns what the file holds then. Throws `KeyFileError`.
 */
export function changeKeyFile(
  file: string,
  change: (keys: KeySet) => Promise<KeySet | undefined>,
): Promise<KeyFile> {
  return orKeyFileError(file, async () => {
    const noneYet = new KeyFileError(`${file}: there is no key file yet; the broker makes it`)
    if ((await readFile(file)) === undefined) throw noneYet
    const unlock = await lock(`${file}.lock`)
    try {
      const before = await readFile(file)
      if (before === undefined) throw noneYet
      const keys = await change(before.keys)
      if (keys === undefined) return before
      if (keys.length > maxKeys) throw new KeyFileError(`${file}: is full until a key in it is over; wait`)
      await place(file, writeKeySet(keys), rename)
      return (await readFile(file)) ?? before
    } finally {
      await unlock()
    }
  })
}

async function orKeyFileError<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof KeyFileError) throw error
    // The code alone: `message` of a file system error is harmless, that of another error may not be.
    const code = isObject(error) && typeof error.code === 'string' ? error.code : 'unreadable'
    throw new KeyFileError(`${file}: cannot be used as a key file (${code})`)
  }
}

async function readFile(file: string): Promise<KeyFile | undefined> {
  // A pipe would otherwise keep whoever opens it waiting for a writer.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK
  const handle = await open(file, flags).catch(unlessMissing)
  if (handle === undefined) return undefined
  try {
    // On the open file, so that what is checked is what is read.
    const found = await handle.stat({ bigint: true })
    if (!found.isFile()) throw new KeyFileError(`${file}: is no file`)
    if ((found.mode & 0o077n) !== 0n) {
      throw new KeyFileError(`${file}: others than its owner may use it; run: chmod 600 '${file}'`)
    }
    const fits = found.size <= BigInt(maxKeyFileBytes)
    const bornAt = Number(found.mtimeMs) / 1000
    const keys = fits ? await readKeySet(await handle.readFile('utf8'), bornAt) : undefined
    if (keys === undefined) throw new KeyFileError(`${file}: holds no P-256 private key in JWK form`)
    return { keys, mark: writeMark(found) }
  } finally {
    await handle.close()
  }
}

function writeMark({ ino, mode, mtimeNs, size }: BigIntStats): string {
  return [ino, mode, mtimeNs, size].join(' ')
}

function unlessMissing(error: unknown): undefined {
  if (isObject(error) && error.code === 'ENOENT') return undefined
  throw error
}

/** Returns what now stands in the file: the keys made here, or those of a process that was first. */
async function createFile(file: string, now: number): Promise<KeyFile> {
  const keys = await firstKeySet(await generatePrivateJwk(), now)
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  // Not rename: that would replace the keys of a process which was first.
  await place(file, writeKeySet(keys), link).catch((error: unknown) => {
    if (!isObject(error) || error.code !== 'EEXIST') throw error
  })
  const made = await readFile(file)
  if (made === undefined) throw new KeyFileError(`${file}: vanished while it was being made`)
  return made
}

/** Writes `text` beside the file and puts it in its place whole. */
async function place(file: string, text: string, put: typeof link): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`
  const handle = await open(draft, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
    await handle.close()
    await put(draft, file)
  } finally {
    await handle.close()
    await unlink(draft).catch(unlessMissing)
  }
}

/** Waits for the lock and takes it; returns the way out. */
async function lock(path: string): Promise<() => Promise<void>> {
  for (;;) {
    const handle = await open(path, 'wx', 0o600).catch((error: unknown) => {
      if (isObject(error) && error.code === 'EEXIST') return undefined
      throw error
    })
    if (handle !== undefined) {
      await handle.close()
      return () => unlink(path).then(undefined, unlessMissing)
    }
    const held = await stat(path).catch(unlessMissing)
    if (held !== undefined && Date.now() - held.mtimeMs > staleLockMs) await unlink(path).catch(unlessMissing)
    else await sleep(20)
  }
}
