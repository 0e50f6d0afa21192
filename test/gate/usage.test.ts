// What a gate did under a lease stands in the state store, where the broker and other gates find it.
import { expect, it } from 'vitest'
import { lease, nowSeconds } from '../stores/samples.ts'
import { eventually, message, startTestGate } from '../support/gate.ts'

it('counts the calls under a lease, its refusals and bytes, and hands over the last ones when it stops', async () => {
  const gate = await startTestGate()
  try {
    const store = await gate.store()
    await store.leases.put(lease('lse_used'))
    const token = gate.token({}, { id: 'lse_used' })
    const asked = [
      { token },
      { token, target: '/crm/customers' },
      { token, target: '/crm/unmapped' },
      { token: 'none' },
    ]
    const statuses: number[] = []
    for (const each of asked) statuses.push((await gate.ask(message(each))).status)
    expect(statuses).toEqual([200, 200, 404, 401])
    await eventually(
      async () => (await store.leases.usage(lease('lse_used')))?.calls === 3,
      'the usage of three calls',
    )
    const usage = await store.leases.usage(lease('lse_used'))
    expect(usage).toMatchObject({ verbs: { read: 1, list: 1 }, refusals: 1, bytesIn: 0 })
    expect(usage!.bytesOut).toBeGreaterThan(0)
    expect(usage!.lastUsedAt).toBeGreaterThan(nowSeconds() - 60)
    await gate.ask(message({ token }))
    await gate.running.close()
    expect(await store.leases.usage(lease('lse_used'))).toMatchObject({ calls: 4 })
  } finally {
    await gate.close()
  }
})
