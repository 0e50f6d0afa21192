// Keys that come and go: published before they sign, published after they have signed, and the same for every
// process that follows the file. Time is a variable; files are real.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { generatePrivateJwk } from '../../src/lease/jose.ts'
import { changeKeyFile, KeyFileError, openKeyFile, readKeyFile } from '../../src/lease/key_file.ts'
import {
  firstKeySet,
  type KeySet,
  publishedAheadSeconds,
  publishedOf,
  readKeySet,
  roleOf,
  rotated,
  signerOf,
  writeKeySet,
} from '../../src/lease/key_set.ts'
import { openLocalKey } from '../../src/lease/local_key.ts'
import {
  type KeyEvent,
  openSigningKeys,
  rotateKeys,
  type SigningKeyOptions,
  type SigningKeys,
} from '../../src/lease/signing_keys.ts'
import { eventually } from '../support/gate.ts'

const root = mkdtempSync(join(tmpdir(), 'leasegate-signing-keys-'))
afterAll(() => rmSync(root, { recursive: true }))

const start = 1_795_300_000
let file: string
let now: number
let tests = 0
const open: SigningKeys[] = []
beforeEach(() => {
  file = join(root, String(tests++), 'broker.key')
  now = start
})
afterEach(() => {
  for (const keys of open.splice(0)) keys.close()
})

async function follow(options: SigningKeyOptions = {}): Promise<SigningKeys> {
  const keys = await openSigningKeys(file, { now: () => now, ...options })
  open.push(keys)
  return keys
}

const kids = (keys: SigningKeys) => keys.public().map(({ kid }) => kid)
const planned = { aheadSeconds: publishedAheadSeconds }

describe('a planned rotation', () => {
  test('publishes the new key for eleven minutes before it signs, and the old one for as long after', async () => {
    const keys = await follow()
    const first = keys.signer().kid
    const set = await rotateKeys(file, planned, now)
    const next = set!.at(-1)!.kid
    await eventually(() => kids(keys).length === 2, 'the next key')
    const seen = [0, 659, 660, 1319, 1320].map((later) => {
      now = start + later
      return [later, keys.signer().kid, kids(keys)]
    })
    expect(seen).toEqual([
      [0, first, [first, next]],
      [659, first, [first, next]],
      [660, next, [first, next]],
      [1319, next, [first, next]],
      [1320, next, [next]],
    ])
  })

  test('is asked for once: a second one changes nothing while a key waits to sign', async () => {
    await openKeyFile(file, now)
    expect(await rotateKeys(file, planned, now)).toHaveLength(2)
    expect(await rotateKeys(file, planned, now + 1)).toBeUndefined()
    expect((await readKeyFile(file))!.keys).toHaveLength(2)
  })

  test('of many processes at once makes one key', async () => {
    await openKeyFile(file, now)
    const made = await Promise.all(Array.from({ length: 8 }, () => rotateKeys(file, planned, now)))
    expect(made.filter((set) => set !== undefined)).toHaveLength(1)
    expect((await readKeyFile(file))!.keys).toHaveLength(2)
    expect(readdirSync(join(file, '..'))).toEqual(['broker.key'])
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  test('says so where there is no key to follow', async () => {
    await openKeyFile(file, now)
    unlinkSync(file)
    await expect(rotateKeys(file, planned, now)).rejects.toThrow(/no key file yet/)
    expect(readdirSync(join(file, '..'))).toEqual([])
  })
})

describe('a rotation in a hurry', () => {
  test('takes the place of a key that waits to sign', async () => {
    const [first] = (await openKeyFile(file, now)).keys
    const slow = (await rotateKeys(file, planned, now))!.at(-1)!
    const set = (await rotateKeys(file, { aheadSeconds: 3 }, now + 10))!
    expect(set.map(({ kid }) => kid)).not.toContain(slow.kid)
    expect(signerOf(set, now + 12).kid).toBe(first.kid)
    expect(signerOf(set, now + 1000).kid).toBe(set.at(-1)!.kid)
  })

  test('after a compromise leaves no other key, from one moment to the next', async () => {
    const keys = await follow()
    const first = keys.signer().kid
    await rotateKeys(file, planned, now)
    const set = (await rotateKeys(file, { aheadSeconds: 0, withdraw: true }, now))!
    await eventually(() => keys.signer().kid !== first, 'the new key')
    expect(kids(keys)).toEqual(set.map(({ kid }) => kid))
    expect(set).toHaveLength(1)
  })
})

describe('by age', () => {
  const month = 720 * 3_600_000

  test('a key is made when the newest is old enough, and by one of two processes', async () => {
    const two = [await follow({ rotateMs: month }), await follow({ rotateMs: month })]
    const first = two[0]!.signer().kid
    now = start + month / 1000
    await eventually(() => two.every((keys) => kids(keys).length === 2), 'the next key in both')
    expect(two.map((keys) => keys.signer().kid)).toEqual([first, first])
    expect(kids(two[0]!)).toEqual(kids(two[1]!))
    now += publishedAheadSeconds
    const next = kids(two[0]!)[1]
    expect(two.map((keys) => keys.signer().kid)).toEqual([next, next])
    expect((await readKeyFile(file))!.keys).toHaveLength(2)
  })

  test('a key of a clock that ran ahead does not stay the next for ever', async () => {
    await openKeyFile(file, now)
    const lost = (await rotateKeys(file, planned, now + 10 * (month / 1000)))!.at(-1)!.kid
    const keys = await follow({ rotateMs: month })
    await eventually(() => !kids(keys).includes(lost), 'a key of this time')
    const [first, next] = kids(keys)
    expect(keys.signer().kid).toBe(first)
    now += publishedAheadSeconds
    expect(keys.signer().kid).toBe(next)
  })

  test('where no file can be made the keys before sign on, and it is told', async () => {
    const events: KeyEvent[] = []
    const keys = await follow({ rotateMs: month, onEvent: (event) => events.push(event) })
    const first = keys.signer().kid
    mkdirSync(`${file}.lock`)
    utimesSync(`${file}.lock`, 1, 1)
    now += month / 1000
    await eventually(() => events.length > 0, 'the fault')
    expect(events).toEqual([
      { type: 'fault', fault: expect.stringContaining('cannot be used as a key file') },
    ])
    expect(keys.signer().kid).toBe(first)
  })

  test('a process that may not make keys makes none', async () => {
    let looks = 0
    await follow({ onEvent: () => looks++ })
    now = start + 12 * (month / 1000)
    for (const look of [1, 2]) {
      utimesSync(file, look, look)
      await eventually(() => looks === look, 'another look at the file')
    }
    expect((await readKeyFile(file))!.keys).toHaveLength(1)
  })
})

describe('a file that cannot be followed', () => {
  test.each<[string, (file: string) => void, RegExp]>([
    ['is gone', (path) => unlinkSync(path), /is gone/],
    ['holds nothing of use', (path) => writeFileSync(path, '{'), /holds no P-256/],
    ['is open to others', (path) => chmodSync(path, 0o644), /chmod 600/],
    [
      'is a pipe, from which reading never ends',
      (path) => {
        execFileSync('mkfifo', ['-m', '600', `${path}.pipe`])
        renameSync(`${path}.pipe`, path)
      },
      /is no file/,
    ],
  ])(
    '%s: the keys before sign on, it is told once, and a good file is followed again',
    async (_, spoil, told) => {
      const events: KeyEvent[] = []
      const keys = await follow({ onEvent: (event) => events.push(event) })
      const first = keys.signer().kid
      const good = readFileSync(file)
      spoil(file)
      await eventually(() => events.length > 0, 'the fault')
      expect(events).toEqual([{ type: 'fault', fault: expect.stringMatching(told) }])
      expect([keys.signer().kid, kids(keys)]).toEqual([first, [first]])
      writeFileSync(`${file}.good`, good, { mode: 0o600 })
      renameSync(`${file}.good`, file)
      await rotateKeys(file, { aheadSeconds: 0 }, now)
      await eventually(() => keys.signer().kid !== first, 'the new key')
      expect(events.filter(({ type }) => type === 'fault')).toHaveLength(1)
    },
  )
})

const [key] = await firstKeySet(await generatePrivateJwk(), start)

describe('the file', () => {
  test('of a version without rotation is taken over as its first key', async () => {
    const jwk = await generatePrivateJwk()
    const { kid } = await openLocalKey(file)
    writeFileSync(file, JSON.stringify(jwk))
    const set = (await rotateKeys(file, planned, Date.now() / 1000))!
    expect(set).toMatchObject([{ d: jwk.d }, {}])
    expect(set[0].kid).not.toBe(kid)
    expect((await readKeyFile(file))!.keys).toEqual(set)
  })

  test('left locked by a process that died is unlocked after half a minute', async () => {
    await openKeyFile(file, now)
    writeFileSync(`${file}.lock`, '')
    utimesSync(`${file}.lock`, Date.now() / 1000 - 31, Date.now() / 1000 - 31)
    expect(await rotateKeys(file, planned, now)).toHaveLength(2)
    expect(readdirSync(join(file, '..'))).toEqual(['broker.key'])
  })

  test('stays as it was, and unlocked, when a change fails', async () => {
    const before = await openKeyFile(file, now)
    const failing = changeKeyFile(file, () => Promise.reject(new Error('no entropy')))
    await expect(failing).rejects.toThrow(KeyFileError)
    expect(await readKeyFile(file)).toEqual(before)
    expect(readdirSync(join(file, '..'))).toEqual(['broker.key'])
  })

  test('does not grow without end', async () => {
    await openKeyFile(file, now)
    for (let at = 0; at < 31; at++) await rotateKeys(file, { aheadSeconds: 0 }, now + at)
    const full = await readKeyFile(file)
    expect(full!.keys).toHaveLength(32)
    await expect(rotateKeys(file, { aheadSeconds: 0 }, now + 40)).rejects.toThrow(/is full/)
    expect(await readKeyFile(file)).toEqual(full)
    // Once the old ones are over there is room again.
    expect(await rotateKeys(file, { aheadSeconds: 0 }, now + 5000)).toHaveLength(2)
  })

  test.each<[string, unknown]>([
    ['no keys', { keys: [] }],
    ['keys that are no list', { keys: key }],
    ['a member beside the keys', { keys: [key], revoked: [] }],
    ['a member that is not understood', { keys: [{ ...key, revoked: true }] }],
    ['a name that is not that of its key', { keys: [{ ...key, kid: 'mine' }] }],
    ['the same key twice', { keys: [key, key] }],
    ['a time that is none', { keys: [{ ...key, signs_from: 'now' }] }],
    ['a time before time', { keys: [{ ...key, created: -1 }] }],
    ['an end that is none', { keys: [{ ...key, retires: null }] }],
    ['no private part', { keys: [{ ...key, d: undefined }] }],
    ['no time at all', { keys: [{ ...key, created: undefined }] }],
  ])('with %s in it is refused', async (_, value) => {
    expect(await readKeySet(JSON.stringify(value), start)).toBeUndefined()
  })
})

/** Steps of a life: seconds that pass, and what is done then. */
const life = fc.array(
  fc.record({
    pause: fc.integer({ min: 0, max: 2000 }),
    ahead: fc.constantFrom(undefined, 0, 3, publishedAheadSeconds),
  }),
  { maxLength: 12 },
)
const spare = await Promise.all(Array.from({ length: 16 }, generatePrivateJwk))

test('whatever rotations happen when: the key that signs is published before, while and after', async () => {
  await fc.assert(
    fc.asyncProperty(life, async (steps) => {
      let at = start
      let made = 0
      let set: KeySet = await firstKeySet(spare[made++]!, at)
      /** When each key was last seen to sign. */
      const signed = new Map<string, number>()
      for (const { pause, ahead } of steps) {
        for (const end = at + pause; at < end; at += 97) {
          const signer = signerOf(set, at).kid
          const published = publishedOf(set, at).map(({ kid }) => kid)
          signed.set(signer, at)
          for (const [kid, last] of signed) if (at - last <= 330) expect(published).toContain(kid)
          expect(set.filter((key) => roleOf(key, set, at) === 'signs')).toHaveLength(1)
        }
        if (ahead === undefined) continue
        const before = signerOf(set, at).kid
        set = await rotated(set, spare[made++]!, { aheadSeconds: ahead }, at)
        if (ahead > 0) expect(signerOf(set, at).kid).toBe(before)
        expect(await readKeySet(writeKeySet(set), at)).toEqual(set)
      }
    }),
    { numRuns: 40 },
  )
})
