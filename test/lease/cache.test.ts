import { describe, expect, test } from 'vitest'
import type { Key, Keys } from '../../src/lease/keys.ts'
import type { Lease } from '../../src/lease/lease.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { isRefusal, type Refusal } from '../../src/refusals.ts'
import { testIssuer, testKey } from '../support/tokens.ts'

const now = 1_795_300_000
const broker = testIssuer({ now })
const audiences = [broker.audience]
const found = { id: 'lse_01TEST' }

/** The keys of the issuer, and a way to take a key away or to put another in its place. */
async function watchedKeys() {
  const keys = await broker.keys()
  let taken = false
  let replaced: Key | undefined
  return {
    ...keys,
    take: (gone: boolean) => {
      taken = gone
    },
    replace: (key: Key) => {
      replaced = key
    },
    find: (issuer: string, kid: string, alg: string) =>
      taken ? undefined : (replaced ?? keys.find(issuer, kid, alg)),
  }
}

async function setup(cacheSize?: number) {
  const keys = await watchedKeys()
  const options = { issuers: [broker.profile()], keys: keys satisfies Keys }
  const { verify } = createVerifier(cacheSize === undefined ? options : { ...options, cacheSize })
  return { keys, verify }
}

/** Fails the test unless the answer is there already: only what is cached is answered synchronously. */
function atOnce(answer: Lease | Refusal | Promise<Lease | Refusal>): Lease | Refusal {
  if (answer instanceof Promise) throw new Error('not from the cache')
  return answer
}

const cause = (answer: Lease | Refusal) => (isRefusal(answer) ? answer.facts.cause : undefined)

describe('a proven token', () => {
  test('is answered synchronously from then on, with the same lease', async () => {
    const { verify } = await setup()
    const token = broker.token()
    const first = verify(token, now, audiences)
    expect(first).toBeInstanceOf(Promise)
    const lease = await first
    expect(lease).toMatchObject(found)
    expect(atOnce(verify(token, now + 1, audiences))).toBe(lease)
  })

  test('is proven once for all who ask at the same time', async () => {
    const { verify } = await setup()
    const token = broker.token()
    const answers = await Promise.all([1, 2, 3].map(() => verify(token, now, audiences)))
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toMatchObject(found)
  })

  test('is judged for the audience and the time of each of them', async () => {
    const { verify } = await setup()
    const token = broker.token()
    const [here, elsewhere, late] = await Promise.all([
      verify(token, now, audiences),
      verify(token, now, ['https://other.example']),
      verify(token, now + 305, audiences),
    ])
    expect(here).toMatchObject(found)
    expect([cause(elsewhere), cause(late)]).toEqual(['audience_not_here', 'expired'])
  })

  test('stays out of the cache where the cache has no room', async () => {
    const { verify } = await setup(0)
    const token = broker.token()
    await verify(token, now, audiences)
    expect(verify(token, now, audiences)).toBeInstanceOf(Promise)
  })

  test('makes room for newer ones', async () => {
    const { verify } = await setup(2)
    const tokens = ['ltk_a', 'ltk_b', 'ltk_c'].map((jti) => broker.token({ jti }))
    for (const token of tokens) await verify(token, now, audiences)
    expect(tokens.map((token) => verify(token, now, audiences) instanceof Promise)).toEqual([
      true,
      false,
      false,
    ])
  })

  test('that differs in one character is another token', async () => {
    const { verify } = await setup()
    const token = broker.token()
    await verify(token, now, audiences)
    const forged = await verify(token.replace(/\.[^.]+$/, `.${'A'.repeat(86)}`), now, audiences)
    expect(cause(forged)).toBe('signature_invalid')
  })
})

describe('on every hit', () => {
  const rows: [name: string, at: number, names: readonly string[], cause: string | undefined][] = [
    ['all is well', now + 59, audiences, undefined],
    ['the audience is checked', now, ['https://gate.example/crm'], 'audience_not_here'],
    ['no audience is no way around it', now, [], 'audience_not_here'],
    ['nbf is checked when the clock is set back', now - 6, audiences, 'not_yet_valid'],
  ]
  test.each(rows)('%s', async (_name, at, names, expected) => {
    const { verify } = await setup()
    const token = broker.token()
    await verify(token, now, audiences)
    expect(cause(atOnce(verify(token, at, names)))).toBe(expected)
  })

  test('exp is checked', async () => {
    const { verify } = await setup()
    const token = broker.token({ exp: now + 10 })
    await verify(token, now, audiences)
    expect(atOnce(verify(token, now + 14, audiences))).toMatchObject(found)
    expect(await verify(token, now + 15, audiences)).toMatchObject({ code: 'lease_expired' })
  })

  test('a proof older than a minute is made anew', async () => {
    const { verify } = await setup()
    const token = broker.token()
    await verify(token, now, audiences)
    const again = verify(token, now + 60, audiences)
    expect(again).toBeInstanceOf(Promise)
    expect(await again).toMatchObject(found)
  })

  test('a key that has left the key set takes its tokens with it', async () => {
    const { verify, keys } = await setup()
    const token = broker.token()
    await verify(token, now, audiences)
    keys.take(true)
    expect(cause(await verify(token, now, audiences))).toBe('key_unknown')
    keys.take(false)
    expect(verify(token, now, audiences)).toBeInstanceOf(Promise)
  })

  test('another key under the same kid does not inherit them', async () => {
    const { verify, keys } = await setup()
    const token = broker.token()
    await verify(token, now, audiences)
    const other = testIssuer({ now, kid: broker.key.kid })
    const otherKeys = await other.keys()
    keys.replace(otherKeys.find(other.issuer, other.key.kid, 'ES256')!)
    expect(cause(await verify(token, now, audiences))).toBe('signature_invalid')
  })
})

describe('a token with a wrong signature', () => {
  const forged = broker.raw(
    { typ: 'at+jwt', alg: 'ES256', kid: 'test-1' },
    broker.claims(),
    testKey('test-1'),
  )

  test('is remembered as such', async () => {
    const { verify } = await setup()
    expect(cause(await verify(forged, now, audiences))).toBe('signature_invalid')
    expect(cause(atOnce(verify(forged, now, audiences)))).toBe('signature_invalid')
  })

  test('is tried again once the key under its kid has changed', async () => {
    const { verify, keys } = await setup()
    const other = testIssuer({ now, kid: broker.key.kid })
    const token = other.token()
    expect(cause(await verify(token, now, audiences))).toBe('signature_invalid')
    const otherKeys = await other.keys()
    keys.replace(otherKeys.find(other.issuer, other.key.kid, 'ES256')!)
    expect(await verify(token, now, audiences)).toMatchObject(found)
  })

  test('and only such a one: other refusals are not remembered', async () => {
    const { verify } = await setup()
    const token = broker.token({ jti: undefined })
    await verify(token, now, audiences)
    expect(verify(token, now, audiences)).toBeInstanceOf(Promise)
  })

  test('never pushes a proven token out', async () => {
    const { verify } = await setup()
    const token = broker.token()
    await verify(token, now, audiences)
    const tail = `.${'A'.repeat(86)}`
    for (let n = 0; n < 300; n++) {
      await verify(broker.token({ jti: `ltk_${n}` }).replace(/\.[^.]+$/, tail), now, audiences)
    }
    expect(atOnce(verify(token, now, audiences))).toMatchObject(found)
  })
})
