// Bad-input class E6 and E9 on many machines: two gates that share nothing but Redis know each other's nonces, and
// let a proof pass once between them.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { message, publicOrigin, startTestGate, type TestGate } from '../support/gate.ts'
import { prover } from '../support/proofs.ts'
import { sharedRedis } from '../support/redis.ts'

let redis: Awaited<ReturnType<typeof sharedRedis>>
let gates: TestGate[]
beforeAll(async () => {
  redis = await sharedRedis()
  const config = { state: { store: 'redis', redis: { url: redis.url, prefix: redis.prefix() } } }
  const first = await startTestGate({ config })
  const issuers = [{ issuer: first.issuer.issuer, jwks: { file: `${first.dir}/jwks.json` } }]
  gates = [first, await startTestGate({ config: { ...config, issuers } })]
})
afterAll(async () => {
  for (const gate of gates) await gate.close()
  await redis.stop()
})

test('a nonce of one gate is good at the other, and a proof passes once', async () => {
  const [first, second] = gates as [TestGate, TestGate]
  const agent = prover()
  const token = first.token({ cnf: { jkt: agent.thumbprint } })
  const signed = (nonce?: string) => {
    const proof = agent.proof({ url: `${publicOrigin}/crm/customers/9821`, token, claims: { nonce } })
    return message({ fields: [`Authorization: DPoP ${token}`, `DPoP: ${proof}`] })
  }
  const { status, headers } = await first.ask(signed())
  expect(status).toBe(401)
  const proven = signed(headers['dpop-nonce'])
  const answers = await Promise.all([second, first, second, first].map((gate) => gate.ask(proven)))
  expect(answers.map((answer) => answer.status).toSorted()).toEqual([200, 401, 401, 401])
})
