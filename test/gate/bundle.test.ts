// A gate whose policy comes in signed bundles: it goes on under the policy before whatever is put in its place.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compiled } from '../policy/support.ts'
import { signedBundle, signingKey } from '../support/bundles.ts'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'

const key = signingKey()
const stranger = signingKey()
const dir = mkdtempSync(join(tmpdir(), 'leasegate-bundle-'))
const file = join(dir, 'bundle.tar.gz')

let wasm: Uint8Array
let gate: TestGate
beforeAll(async () => {
  wasm = await compiled('decision := {"effect": data.effect, "reasons": [data.reason]}')
  writeFileSync(join(dir, 'key.pem'), key.publicKey.pem)
  publish('allow', 'first')
  const keys = [{ id: '2026-11', algorithm: 'ES256', file: join(dir, 'key.pem') }]
  gate = await startTestGate({ config: { policy: { bundle: { file, poll: '1s', verification: { keys } } } } })
})
afterAll(async () => {
  await gate.close()
  rmSync(dir, { recursive: true })
})

function publish(effect: 'allow' | 'deny', reason: string, by = key): void {
  const content = {
    'policy.wasm': wasm,
    'data.json': JSON.stringify({ effect, reason }),
    '.manifest': JSON.stringify({ revision: reason, roots: [''] }),
  }
  writeFileSync(`${file}.new`, signedBundle(content, { key: by }))
  renameSync(`${file}.new`, file)
}

async function call() {
  const { status, body } = await gate.ask(message({ token: gate.token() }))
  return { status, reasons: (JSON.parse(body.toString()) as { reasons?: string[] }).reasons }
}

const policyDetail = async () => (await gate.readiness()).checks.find(({ name }) => name === 'policy')?.detail

test('a bundle with a good signature goes live, and the record names it', async () => {
  expect((await call()).status).toBe(200)
  expect(await policyDetail()).toMatch(/^sha256:[0-9a-f]{64}; bundle first, confirmed \d+ s ago$/)
  publish('deny', 'second')
  await eventually(async () => (await call()).status === 403, 'the second policy')
  expect((await call()).reasons).toEqual(['second'])
  const before = gate.records().length
  await call()
  const [record] = await gate.recordsAfter(before)
  expect(record?.decision.policy_digest).toBe(gate.running.policyDigest())
})

test('one with a wrong signature never does: metric, audit event, log and readiness say so', async () => {
  const live = gate.running.policyDigest()
  publish('allow', 'evil', stranger)
  const rejections = () => gate.audit().filter(({ event, rejected }) => event === 'policy' && rejected)
  await eventually(() => rejections().length > 0, 'the rejection')
  expect(rejections()).toHaveLength(1)
  expect(JSON.stringify(rejections()[0])).toContain(`bundle_signature_invalid: ${file}: `)
  expect(gate.running.policyDigest()).toBe(live)
  expect(await call()).toEqual({ status: 403, reasons: ['second'] })
  expect(await gate.metrics()).toMatch(/^leasegate_policy_reloads_total\{result="rejected"\} 1$/m)
  expect(gate.logText()).toContain('bundle_signature_invalid')
  const { status } = await gate.readiness()
  expect(status).toBe(200)
  expect(await policyDetail()).toMatch(
    /stays live; the newest was rejected: bundle_signature_invalid: .*bundle second/,
  )
})

test('while there is none, the age grows and the reason shows; the next good one goes live', async () => {
  rmSync(file)
  await eventually(async () => (await policyDetail())!.includes('not confirmed'), 'the fault')
  expect(await policyDetail()).toMatch(
    /bundle second, not confirmed for \d+ s: it cannot be read \(ENOENT\)$/,
  )
  expect(gate.logText()).toContain(`${file}: it cannot be read (ENOENT)`)
  expect(await gate.metrics()).toMatch(/^leasegate_policy_bundle_age_seconds [0-9.]*[1-9]/m)
  expect(await call()).toEqual({ status: 403, reasons: ['second'] })
  publish('allow', 'third')
  await eventually(async () => (await call()).status === 200, 'the third policy')
  await eventually(async () => /; bundle third, confirmed/.test((await policyDetail())!), 'the revision')
})
