// An approved call under faults: two gates, each a process of its own, on one store. However many send it, and if the
// gate is killed while the backend has it, it reaches the backend once.
import { mkdirSync, rmSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Actions } from '../../src/approval/actions.ts'
import { createSealer } from '../../src/approval/seal.ts'
import type { Store } from '../../src/ports.ts'
import { approveAction } from '../support/approvals.ts'
import { startHttp, type TestServer } from '../support/backends.ts'
import { grantsFor, message } from '../support/gate.ts'
import { ask } from '../support/raw.ts'
import { type RecordStore, recordStore } from '../support/record_stores.ts'
import type { Json } from '../support/tokens.ts'
import { type Ground, openGround } from './deployment.ts'
import { type GateProcess, startGateProcess } from './gate_process.ts'

/** Everything on disk before it is acknowledged. */
const durable = ['--appendonly', 'yes', '--appendfsync', 'always']
const operations: readonly Json[] = [
  {
    match: 'DELETE /customers/{id}',
    verb: 'delete',
    resource: 'customer/{id}',
    sensitivity: 'restricted',
    risk: 'high',
  },
]

let ground: Ground
let backend: TestServer
/** What reached the backend, in order. */
let reached: string[] = []
let answer: (res: ServerResponse) => void = () => {}
beforeAll(async () => {
  ground = await openGround()
  backend = await startHttp((req, res) => {
    reached.push(req.url ?? '')
    answer(res)
  })
})
afterAll(async () => {
  await backend.close()
  await ground[Symbol.asyncDispose]()
})

describe.each<Store['kind']>(['embedded', 'redis'])('on the %s store', (kind) => {
  let state: RecordStore
  let gates: readonly GateProcess[] = []
  let actions: Actions
  beforeAll(async () => {
    state = await recordStore(kind, durable)
    actions = new Actions((await state.open()).records, createSealer('only what is said is changed here'))
    const { redis, prefix, path } = state
    const place = redis === undefined ? { path } : { store: 'redis', redis: { url: redis.url, prefix } }
    const dir = join(ground.dir, `approved-${kind}`)
    mkdirSync(dir)
    const { issuer, dir: shared } = ground
    const options = { dir, shared, issuer, backendUrl: backend.url, operations, state: place }
    gates = await Promise.all(['A', 'B'].map((name) => startGateProcess({ ...options, name })))
  }, 60_000)
  afterEach(() => {
    reached = []
  })
  afterAll(async () => {
    await Promise.all(gates.map((gate) => gate.kill()))
    await state.end()
    rmSync(join(ground.dir, `approved-${kind}`), { recursive: true })
  })

  /** What a gate makes of the delete: the status, with the code of a refusal; undefined: no answer came. */
  const remove = async (gate: GateProcess, customer: string, action?: string) => {
    const usual = ground.issuer.claims() as { lease: Json }
    const token = ground.issuer.token({
      jti: `ltk_${kind}_${customer}`,
      authorization_details: grantsFor('crm', ['customer/*']),
      lease: { ...usual.lease, id: `lse_${kind}_${customer}`, stage: 'execute' },
    })
    const fields = action === undefined ? [] : [`Lease-Approval: ${action}`]
    const bytes = message({ method: 'DELETE', target: `/crm/customers/${customer}`, token, fields })
    const answered = await ask(gate.port, bytes).catch(() => undefined)
    const text = answered?.body.toString() ?? ''
    const { code, access_request: access } = text === '' ? {} : JSON.parse(text)
    return { status: answered?.status, code, action: String(access?.task.id) }
  }
  const held = async (customer: string): Promise<string> => {
    const { code, action } = await remove(gates[0]!, customer)
    expect(code).toBe('approval_required')
    return action
  }

  test('of ten that send it at once over two gates, one goes through', async () => {
    answer = (res) => void res.writeHead(204).end()
    const action = await held('1')
    expect((await remove(gates[1]!, '1', action)).code).toBe('approval_required')
    await approveAction(actions, action)
    const sent = Array.from({ length: 10 }, (_, at) => remove(gates[at % 2]!, '1', action))
    const answers = await Promise.all(sent)
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1)
    expect(answers.filter(({ code }) => code === 'approval_used')).toHaveLength(9)
    expect(reached).toEqual(['/customers/1'])
  })

  test('it is not sent again when the gate is killed while the backend has it', async () => {
    const action = await held('2')
    await approveAction(actions, action)
    const [killed, other] = gates as [GateProcess, GateProcess]
    const dead = new Promise<void>((resolve) => {
      answer = () => resolve(killed.kill())
    })
    expect(await remove(killed, '2', action)).toMatchObject({ status: undefined })
    await dead
    answer = (res) => void res.writeHead(204).end()
    expect(await remove(other, '2', action)).toMatchObject({ status: 403, code: 'approval_used' })
    await killed.start()
    expect(await remove(killed, '2', action)).toMatchObject({ status: 403, code: 'approval_used' })
    // Without its name it is another request for approval.
    expect((await remove(killed, '2')).code).toBe('approval_required')
    expect(reached).toEqual(['/customers/2'])
    expect((await actions.get(action))?.action.state).toBe('used')
  }, 60_000)
})
