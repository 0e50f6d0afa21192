// Proofs by themselves: the reading of any text, the order of the checks, the memory of used ones, and what the
// broker makes of a sender. What a gate answers is tested in test/gate/class_e.test.ts.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SenderFacts, SenderVerifier } from '../../src/broker/parties.ts'
import { createNonces, type Nonces } from '../../src/lease/nonces.ts'
import { createProofVerifier, type ProofUse, type ProofVerifier } from '../../src/lease/proof.ts'
import type { ProofFault } from '../../src/lease/proof_faults.ts'
import { createSenderVerifier } from '../../src/lease/proof_sender.ts'
import { readProof } from '../../src/lease/proof_text.ts'
import { type Replay, type Store, Unavailable } from '../../src/ports.ts'
import { isRefusal } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { prover } from '../support/proofs.ts'

const now = Math.floor(Date.now() / 1000)
const url = 'https://broker.example/token'
const agent = prover()
const other = prover()
const dir = mkdtempSync(join(tmpdir(), 'leasegate-proof-'))
let store: Store
let nonces: Nonces
let verifier: ProofVerifier
beforeAll(async () => {
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000 })
  nonces = createNonces(await store.secrets.shared('dpop-nonce'))
  verifier = createProofVerifier({ replay: store.replay, nonces, nonceRequired: true })
})
afterAll(async () => {
  await store.close()
  rmSync(dir, { recursive: true })
})

const nonce = () => nonces.current(now)
const usual = (use: Partial<ProofUse> = {}): ProofUse => ({
  proof: agent.proof({ method: 'POST', url, nonce: nonce() }),
  method: 'POST',
  url,
  ...use,
})

describe('reading a proof', () => {
  test('any change of one character is refused, or leaves another text to be signed', () => {
    const proof = agent.proof({ url, nonce: 'n' })
    const signature = proof.lastIndexOf('.')
    fc.assert(
      fc.property(fc.nat(proof.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
        const changed = `${proof.slice(0, at)}${character}${proof.slice(at + 1)}`
        fc.pre(changed !== proof)
        const read = readProof(changed)
        if (typeof read === 'string') return
        expect(read.text).toBe(changed)
        // What is read from it differs only where what is signed differs.
        if (at > signature)
          expect({ ...read, text: '' }).toEqual({ ...(readProof(proof) as object), text: '' })
      }),
    )
  })

  test('any text is a proof or a fault, never a throw', () => {
    const part = fc.oneof(
      fc.string(),
      fc.base64String(),
      fc.json().map((json) => Buffer.from(json).toString('base64url')),
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
        expect(readProof(parts.join('.'))).toBeTypeOf('string')
      }),
    )
  })

  test('a header and claims of any JSON: nothing passes but the members it has to have', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.dictionary(fc.string(), fc.jsonValue()),
        (header, claims) => {
          expect(readProof(agent.raw(header, claims))).toBeTypeOf('string')
          expect(readProof(agent.raw(agent.header(), claims))).toBeTypeOf('string')
        },
      ),
    )
  })

  test('further claims are left alone', () => {
    expect(readProof(agent.proof({ url, claims: { extra: { deep: [1] } } }))).toMatchObject({ htu: url })
  })

  test('a kid, and what WebCrypto writes into a public JWK, is no harm', () => {
    const jwk = { ...agent.jwk, key_ops: ['verify'], ext: true, kid: 'k', use: 'sig', alg: 'ES256' }
    expect(readProof(agent.proof({ url, header: { kid: 'k', jwk } }))).toMatchObject({ alg: 'ES256' })
  })
})

describe('the checks', () => {
  test('a good proof names its key, and no newer nonce', async () => {
    expect(await verifier.verify(usual(), now)).toEqual({ thumbprint: agent.thumbprint, nonce: undefined })
  })

  test('a nonce of the minute before still passes, and the newest is handed out', async () => {
    const proof = agent.proof({ method: 'POST', url, nonce: nonces.current(now - 60) })
    expect(await verifier.verify(usual({ proof }), now)).toEqual({
      thumbprint: agent.thumbprint,
      nonce: nonce(),
    })
  })

  test.each([
    [-60, 'taken'],
    [-61, 'proof_iat'],
    [5, 'taken'],
    [6, 'proof_iat'],
    [Number.NaN, 'proof_iat'],
  ])('E7 made at %s seconds from now: %s', async (offset, outcome) => {
    const proof = agent.proof({ method: 'POST', url, nonce: nonce(), claims: { iat: now } })
    const answer = await verifier.verify(usual({ proof }), now - offset)
    const fault = typeof answer === 'string' ? answer : 'taken'
    // Far enough from now the nonce is too old as well, which is looked at after the time.
    expect(fault === 'proof_nonce' ? 'taken' : fault).toBe(outcome)
  })

  test('what is wrong first is what is said: claims, then nonce, then key, then signature', async () => {
    const token = { text: 'token', thumbprint: agent.thumbprint }
    const say = async (claims: object, by = agent, signer = by.key) => {
      const ask = { method: 'POST', url, token: 'token', nonce: nonce() }
      const proof = by.proof({ ...ask, claims: { ...claims }, signer })
      return verifier.verify(usual({ proof, token }), now)
    }
    expect(await say({ htm: 'GET', htu: 'x', iat: 0, ath: 'x', nonce: 'x' }, other, agent.key)).toBe(
      'proof_htm',
    )
    expect(await say({ htu: 'x', iat: 0, ath: 'x', nonce: 'x' }, other, agent.key)).toBe('proof_htu')
    expect(await say({ iat: 0, ath: 'x', nonce: 'x' }, other, agent.key)).toBe('proof_iat')
    expect(await say({ ath: 'x', nonce: 'x' }, other, agent.key)).toBe('proof_ath')
    expect(await say({ nonce: 'x' }, other, agent.key)).toBe('proof_nonce')
    expect(await say({}, other, agent.key)).toBe('proof_other_key')
    expect(await say({}, agent, other.key)).toBe('proof_signature')
    expect(await say({}, agent)).toMatchObject({ thumbprint: agent.thumbprint })
  })

  test('without a required nonce a proof needs none, but one that it has must be good', async () => {
    const lenient = createProofVerifier({ replay: store.replay, nonces, nonceRequired: false })
    const withNonce = (given?: string) =>
      lenient.verify(usual({ proof: agent.proof({ method: 'POST', url, claims: { nonce: given } }) }), now)
    expect(await withNonce()).toMatchObject({ nonce: undefined })
    expect(await withNonce(nonce())).toMatchObject({ nonce: undefined })
    expect(await withNonce('made up')).toBe('proof_nonce')
  })

  test('only a proof that holds otherwise is remembered', async () => {
    const remembered: string[] = []
    const replay: Replay = {
      use: async (id, expiresAt, at) => {
        expect(expiresAt - at).toBe(120)
        remembered.push(id)
        return true
      },
    }
    const watched = createProofVerifier({ replay, nonces, nonceRequired: true })
    const faults: (ProofFault | undefined)[] = []
    const wrong = [{ signer: other.key }, { nonce: 'old' }, { claims: { htm: 'GET' } }, {}]
    for (const change of wrong) {
      const proof = agent.proof({ method: 'POST', url, nonce: nonce(), ...change })
      const answer = await watched.verify(usual({ proof }), now)
      faults.push(typeof answer === 'string' ? answer : undefined)
    }
    expect(faults).toEqual(['proof_signature', 'proof_nonce', 'proof_htm', undefined])
    expect(remembered).toHaveLength(1)
    expect(remembered[0]).toMatch(new RegExp(`^dpop:${agent.thumbprint}:[A-Za-z0-9_-]{43}$`))
  })

  test('what cannot be remembered is not taken', async () => {
    const replay: Replay = { use: () => Promise.reject(new Unavailable('full')) }
    const forgetful = createProofVerifier({ replay, nonces, nonceRequired: true })
    await expect(forgetful.verify(usual(), now)).rejects.toThrow(Unavailable)
  })
})

describe('a sender at the broker', () => {
  let senders: SenderVerifier
  beforeAll(() => {
    senders = createSenderVerifier({ replay: store.replay, nonces, nonceRequired: true })
  })
  const facts = (changes: Partial<SenderFacts> = {}): SenderFacts => ({
    proofs: [agent.proof({ method: 'POST', url, nonce: nonce() })],
    certificate: undefined,
    method: 'POST',
    url,
    ...changes,
  })
  const certificate = { thumbprint: 'c'.repeat(43), trusted: false, names: [] }

  test('with a proof is bound to its key', async () => {
    expect(await senders.verify(facts(), now)).toEqual({ method: 'dpop', thumbprint: agent.thumbprint })
  })

  test('with a certificate alone is bound to that', async () => {
    expect(await senders.verify(facts({ proofs: [], certificate }), now)).toEqual({
      method: 'mtls',
      thumbprint: certificate.thumbprint,
    })
  })

  test('with both is bound to the key of the proof', async () => {
    expect(await senders.verify(facts({ certificate }), now)).toMatchObject({ method: 'dpop' })
  })

  test('with neither is bound to nothing', async () => {
    expect(await senders.verify(facts({ proofs: [] }), now)).toBeUndefined()
  })

  const proof = (ask: Parameters<typeof agent.proof>[0]) => () => ({
    proofs: [agent.proof({ method: 'POST', nonce: nonce(), ...ask })],
  })
  test.each<[string, () => Partial<SenderFacts>, string]>([
    ['two proofs', () => ({ proofs: [...facts().proofs, ...facts().proofs] }), 'invalid_dpop_proof'],
    ['an empty field', () => ({ proofs: [''] }), 'invalid_dpop_proof'],
    ['an empty field beside a certificate', () => ({ proofs: [''], certificate }), 'invalid_dpop_proof'],
    ['another method', proof({ url, method: 'GET' }), 'invalid_dpop_proof'],
    ['another endpoint', proof({ url: 'https://broker.example/revoke' }), 'invalid_dpop_proof'],
    ['another broker', proof({ url: 'https://other.example/token' }), 'invalid_dpop_proof'],
    ['another signature', proof({ url, signer: other.key }), 'invalid_dpop_proof'],
    ['H1b no nonce', proof({ url, claims: { nonce: undefined } }), 'use_dpop_nonce'],
    ['H1b a nonce of another server', proof({ url, nonce: 'x'.repeat(43) }), 'use_dpop_nonce'],
  ])('with %s is refused', async (_, changes, code) => {
    const refusal = await senders.verify(facts(changes()), now)
    if (!isRefusal(refusal)) throw new Error('accepted')
    expect(refusal).toMatchObject({ code, row: { status: 400 } })
    expect(senders.nonce(now)).toBe(nonce())
  })

  test('E6 a replayed proof is refused, and so is one that a gate has seen', async () => {
    const once = facts()
    expect(await senders.verify(once, now)).toMatchObject({ method: 'dpop' })
    expect(await senders.verify(once, now)).toMatchObject({ code: 'invalid_dpop_proof' })
    const seen = usual()
    await verifier.verify(seen, now)
    expect(await senders.verify(facts({ proofs: [seen.proof] }), now)).toMatchObject({
      code: 'invalid_dpop_proof',
      facts: { cause: 'proof_replayed' },
    })
  })
})
