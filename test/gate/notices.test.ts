// A whole gate tells people that a call waits: once for each that waits, and no call ever waits for that.
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { message, startTestGate, type TestGate } from '../support/gate.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const bound = { timeout: 20_000, interval: 50 }

let gate: TestGate
let chat: TestReceiver
let hook: TestReceiver
let hangs: TestReceiver
let decided: TestReceiver
beforeAll(async () => {
  ;[chat, hook, hangs, decided] = await Promise.all([
    startReceiver((response) => response.end('ok')),
    startReceiver((response) => response.writeHead(204).end()),
    startReceiver(() => {}),
    startReceiver((response) => response.writeHead(204).end()),
  ])
  gate = await startTestGate({
    config: {
      console: { url: 'https://leasegate.example' },
      notify: [
        { url: chat.url, format: 'slack' },
        { url: hook.url, secret },
        { url: `${hangs.url}/hangs`, secret },
        { url: `${hook.url}/others`, secret, events: ['draft.executed'] },
        { url: decided.url, secret, events: ['approval.decided'] },
      ],
    },
  })
})
afterAll(async () => {
  await gate.close()
  for (const each of [chat, hook, hangs, decided]) each.close()
})

describe('a call that policy holds', () => {
  test('is told of once to each who asked, however often the agent makes it', async () => {
    const token = gate.token()
    const call = message({ method: 'DELETE', target: '/crm/customers/9821?hard=yes', token })
    const refusal = JSON.parse(String((await gate.ask(call)).body))
    expect(refusal).toMatchObject({ code: 'approval_required' })
    expect((await gate.ask(call)).status).toBe(403)
    await expect
      .poll(() => [chat, hook, hangs].map(({ received }) => received.length), bound)
      .toEqual([1, 1, 1])
    const { id } = refusal.access_request.task
    const url = `https://leasegate.example/console#/inbox/${id}`
    const [told] = hook.received
    expect(new Webhook(secret).verify(told!.body, told!.headers as Record<string, string>)).toMatchObject({
      type: 'approval.requested',
      data: { action: id, verb: 'delete', operation: 'DELETE /customers/{id}', url },
    })
    expect(chat.received[0]!.body).toContain(`<${url}|Open it in the console>`)
    expect(told!.path).not.toContain('others')
  })

  test('leaves no secret, URL or parameter of it behind, and goes nowhere by itself', async () => {
    const said = [gate.auditText(), gate.logText(), await gate.metrics()].join()
    expect(said).not.toContain(secret)
    expect(said).not.toContain('path-that-is-a-secret')
    const told = [...chat.received, ...hook.received].map(({ body }) => body).join()
    for (const word of ['9821', 'hard', 'SUP-4711', 'lse_']) expect(told).not.toContain(word)
    expect(gate.backend.requests).toEqual([])
    const sent = 'leasegate_notices_total{result="sent"} 2'
    await expect.poll(() => gate.metrics(), bound).toContain(sent)
  })

  test('that its agent takes back is told of to who wants to hear what was decided', async () => {
    const token = gate.token()
    const held = JSON.parse(
      String((await gate.ask(message({ method: 'DELETE', target: '/crm/customers/7', token }))).body),
    )
    const { id } = held.access_request.task
    const target = `/access/v1/requests/${id}/cancel`
    expect((await gate.ask(message({ method: 'POST', target, token }))).status).toBe(200)
    await expect.poll(() => decided.received.length, bound).toBe(1)
    expect(JSON.parse(decided.received[0]!.body)).toMatchObject({
      type: 'approval.decided',
      data: { action: id, state: 'withdrawn' },
    })
  })
})
