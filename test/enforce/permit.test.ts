// Nothing goes out without a decision: neither at run time nor past the type checker. Every line below a
// `@ts-expect-error` has to fail to compile, or `tsc` fails.
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import * as commitModule from '../../src/enforce/commit.ts'
import { type CommitSources, type Committed, commit, isCommitted } from '../../src/enforce/commit.ts'
import * as decideModule from '../../src/enforce/decide.ts'
import { isPermit, type Permit } from '../../src/enforce/decide.ts'
import * as outboundModule from '../../src/enforce/outbound.ts'
import { isOutboundRequest, type OutboundRequest, outbound } from '../../src/enforce/outbound.ts'
import { committedOf, outboundFacts, outboundOf, permitOf } from '../support/evidence.ts'

/** Copies that share everything with `original` but what makes it genuine. */
function forgeries(original: object): [name: string, forged: unknown][] {
  const prototype: object = Object.getPrototypeOf(original)
  return [
    ['a spread', { ...original }],
    ['a structured clone', structuredClone({ ...original })],
    ['an object of its prototype', Object.create(prototype)],
    ['a copy with its prototype', Object.assign(Object.create(prototype), original)],
    ['a proxy', new Proxy(original, {})],
    ['an heir', Object.create(original)],
    ['JSON', JSON.parse(JSON.stringify(original))],
    ['undefined', undefined],
    ['null', null],
    ['true', true],
    ['a text', 'permit'],
  ]
}

const genuine: [string, () => Promise<object>, (value: unknown) => boolean][] = [
  ['Permit', async () => permitOf(), isPermit],
  ['Committed', async () => committedOf(permitOf()), isCommitted],
  ['OutboundRequest', () => outboundOf(), isOutboundRequest],
]

describe.each(genuine)('%s', (_, make, isGenuine) => {
  test('is known when the pipeline made it', async () => {
    expect(isGenuine(await make())).toBe(true)
  })

  test('is not known in any other form', async () => {
    for (const [name, forged] of forgeries(await make())) expect(isGenuine(forged), name).toBe(false)
  })

  test('cannot be made through the constructor of another', async () => {
    const original = await make()
    const construct = original.constructor as new (...args: unknown[]) => object
    for (const key of [undefined, null, Symbol('mint'), Symbol.for('mint'), 'mint', original]) {
      expect(() => new construct(key, original, {}, {})).toThrow(/alone/)
      expect(() => Reflect.construct(construct, [key], Object)).toThrow(/alone/)
    }
  })

  test('cannot be made by an heir of its class', async () => {
    const parent = (await make()).constructor as new (...args: unknown[]) => object
    class Forged extends parent {}
    expect(() => new Forged(Symbol('mint'), {}, {})).toThrow(/alone/)
  })

  test('is not another of the three', async () => {
    const others = genuine.filter(([, , other]) => other !== isGenuine)
    for (const [name, other] of others) expect(isGenuine(await other()), name).toBe(false)
  })

  test('prints nothing of what it was made from', async () => {
    const printed = `${JSON.stringify(await make())}${inspect(await make(), { depth: 9, showHidden: true })}`
    expect(printed).not.toContain('alice@example.com')
    expect(printed).not.toContain('backend-key')
  })
})

const unasked = {} as CommitSources

test('only a permit is committed', () => {
  for (const [name, forged] of forgeries(permitOf())) {
    expect(() => commit(forged as Permit, 'dec_1', unasked), name).toThrow('only a permit can be committed')
  }
})

test('only what was committed goes out', async () => {
  for (const [name, forged] of forgeries(await committedOf(permitOf()))) {
    expect(() => outbound(forged as Committed, outboundFacts), name).toThrow(
      'only a committed permit can go out',
    )
  }
})

test('a permit is good for one request', async () => {
  const permit = permitOf()
  await committedOf(permit)
  await expect(committedOf(permit)).rejects.toThrow('a permit is good for one request')
})

describe('the type checker sees it as well', () => {
  test('nothing but a permit is a permit', () => {
    const permit = permitOf()
    const { evidence, decision } = permit
    // @ts-expect-error a literal lacks what makes a permit
    const literal: Permit = { evidence, decision, take() {} }
    // @ts-expect-error and so does a spread
    const spread: Permit = { ...permit }
    // @ts-expect-error evidence has not been decided on
    const early: Permit = evidence
    expect([literal, spread, early].map(isPermit)).toEqual([false, false, false])
    // @ts-expect-error evidence cannot be committed
    expect(() => commit(evidence, 'dec_1', unasked)).toThrow('only a permit can be committed')
  })

  test('nothing but what was committed goes out', () => {
    const permit = permitOf()
    // @ts-expect-error a permit has not been paid for
    const unpaid: Committed = permit
    // @ts-expect-error a literal has not been committed
    const literal: Committed = { permit }
    expect([unpaid, literal].map(isCommitted)).toEqual([false, false])
    // @ts-expect-error what was not committed cannot go out
    expect(() => outbound(permit, outboundFacts)).toThrow('only a committed permit can go out')
  })

  test('nothing but what came out of outbound is forwarded', async () => {
    const { backend, method, path, headers, body } = await outboundOf()
    // @ts-expect-error a literal of all that can be read of it
    const literal: OutboundRequest = { backend, method, path, headers, body }
    expect(isOutboundRequest(literal)).toBe(false)
  })

  test('the classes cannot be imported as values', () => {
    // @ts-expect-error the export is a type
    expect(decideModule.Permit).toBeUndefined()
    // @ts-expect-error the export is a type
    expect(commitModule.Committed).toBeUndefined()
    // @ts-expect-error the export is a type
    expect(outboundModule.OutboundRequest).toBeUndefined()
  })

  test('what was decided stands', async () => {
    const [permit, other, request] = [permitOf(), permitOf(), await outboundOf()]
    // @ts-expect-error read-only
    expect(() => (permit.decision = other.decision)).toThrow(TypeError)
    // @ts-expect-error read-only
    expect(() => (permit.evidence = other.evidence)).toThrow(TypeError)
    // @ts-expect-error read-only
    expect(() => (request.path = '/admin')).toThrow(TypeError)
    // @ts-expect-error read-only
    expect(() => (request.method = 'DELETE')).toThrow(TypeError)
  })
})
