// Today's rights, not those of the day the lease was issued (bad-inputs F10): a token stays as it is, and what its
// user, its agent or an agent that handed it on has lost since is refused from the next call on.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import type { Json } from '../support/tokens.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

const document = (name: string) => join(gate.config.policy.dir, 'data', name)

async function call(token: string) {
  using connection = await gate.connect()
  connection.write(message({ token }))
  const { status, body } = await connection.answer()
  return { status, ...(JSON.parse(body.toString()) as { code?: string; reasons?: string[] }) }
}

const handedOn = {
  ancestors: ['lse_parent'],
  delegated_by: [{ id: 'agent:planner', version: '1.4.0', policy_profile: 'planner' }],
}

test.each<[string, string, (data: Json) => Json, Json, string]>([
  [
    'the user',
    'users.json',
    (users) => ({ ...users, 'alice@example.com': { groups: [] } }),
    {},
    'user_not_entitled',
  ],
  [
    'the profile of the agent',
    'profiles.json',
    (profiles) => ({ ...profiles, support: { ...(profiles.support as Json), backends: {} } }),
    {},
    'agent_profile_lacks_verb',
  ],
  [
    'the profile of an agent that handed the lease on',
    'profiles.json',
    (profiles) => ({ ...profiles, planner: { ...(profiles.planner as Json), delegates: false } }),
    handedOn,
    'delegating_agent_not_permitted',
  ],
])('a right taken from %s is gone at the next call', async (_name, file, take, lease, reason) => {
  const shipped = JSON.parse(readFileSync(document('profiles.json'), 'utf8')) as Json
  writeFileSync(document('profiles.json'), JSON.stringify({ ...shipped, planner: shipped.support }))
  await gate.running.reload()
  const before = gate.running.policyDigest()
  const token = gate.token({}, lease)
  expect(await call(token)).toMatchObject({ status: 200 })

  const text = readFileSync(document(file), 'utf8')
  writeFileSync(document(file), JSON.stringify(take(JSON.parse(text) as Json)))
  await eventually(() => gate.running.policyDigest() !== before, 'the new data')
  expect(await call(token)).toMatchObject({
    status: 403,
    code: 'policy_denied',
    reasons: expect.arrayContaining([reason]),
  })

  writeFileSync(document(file), text)
  await gate.running.reload()
  expect(await call(token)).toMatchObject({ status: 200 })
})
