// The endpoints of people who decide, over a real socket and a real store; people come by their operator tokens. What
// is told of each attempt is kept.
import type { AddressInfo } from 'node:net'
import type { LeaseRequest } from '../../src/approval/requests.ts'
import { actionOrderEndpoints } from '../../src/http/action_orders.ts'
import type { ActionParts } from '../../src/http/action_parts.ts'
import { actionEndpoints } from '../../src/http/actions.ts'
import type { Confirmation } from '../../src/http/console/confirm.ts'
import { createControlListener } from '../../src/http/control.ts'
import { operator } from '../../src/http/operators.ts'
import { repeatEndpoints } from '../../src/http/repeats.ts'
import { refuse } from '../../src/refusals.ts'
import { createDecisionObserver } from '../../src/telemetry/approval.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import type { Json } from './tokens.ts'
import { type ApprovalWorld, openWorld } from './waiting_actions.ts'

const groups = ['crm-owners']
const approver = { roles: ['approver'], groups } as const
const tokenOf = (name: string) => `token-of-${name}-of-the-test`

/** Each with a token of their own. */
const people = [
  operator('carol@example.com', tokenOf('carol'), approver),
  operator('dave@example.com', tokenOf('dave'), approver),
  operator('ALICE@example.com', tokenOf('alice'), approver),
  operator('eve@example.com', tokenOf('eve'), { roles: ['approver'] }),
  operator('named@example.com', tokenOf('named'), { roles: ['operator'], groups }),
  operator('audit', tokenOf('audit'), { roles: ['auditor'] }),
  operator('ops', tokenOf('ops'), { roles: ['operator'] }),
  operator('acme-carol', tokenOf('acme'), { ...approver, tenant: 'acme' }),
]

/** A yes by what they have signed in with, and nothing more. */
export const plainConfirmation: Confirmation = {
  needs: () => ({ stepUp: false, passkey: false }),
  confirm: async ({ by }, _, assertion) => (assertion === undefined ? by : refuse('confirmation_required')),
}

export type Name = 'carol' | 'dave' | 'alice' | 'eve' | 'named' | 'audit' | 'ops' | 'acme'

export interface Answer {
  readonly status: number
  readonly json: Json
  readonly text: string
}

export interface DecidingWorld extends ApprovalWorld {
  /** Audit records, oldest first. */
  readonly audit: Json[]
  /** What the tests may exchange. */
  readonly over: { confirmation: ActionParts['confirmation']; fault: string | undefined; nudged: number }
  readonly metrics: ReturnType<typeof createMetrics>
  /** Token requests that people were told the end of. */
  readonly told: LeaseRequest[]
  /** Of deferrals, by client id. */
  readonly tenants: Map<string, string>
  call(method: 'GET' | 'POST', path: string, as: Name | undefined, json?: unknown): Promise<Answer>
}

/** Listens. */
export async function openDeciding(): Promise<DecidingWorld> {
  const world = await openWorld('embedded')
  const audit: Json[] = []
  const metrics = createMetrics({ backends: [], version: '1' })
  const over: DecidingWorld['over'] = { confirmation: plainConfirmation, fault: undefined, nudged: 0 }
  const tenants = new Map<string, string>()
  const told: LeaseRequest[] = []
  const sink = { append: (line: string) => void audit.push(JSON.parse(line)), fault: () => over.fault }
  const parts: ActionParts = {
    sources: world.sources,
    store: world.store,
    clock: Date.now,
    observer: createDecisionObserver({ audit: sink, metrics }),
    tenantOf: (clientId) => tenants.get(clientId),
    confirmation: {
      needs: (...args) => over.confirmation.needs(...args),
      confirm: (...args) => over.confirmation.confirm(...args),
    },
    onSettled: async (request) => void told.push(request),
    nudge: () => void over.nudged++,
  }
  const server = createControlListener({
    endpoints: [...actionEndpoints(parts), ...actionOrderEndpoints(parts), ...repeatEndpoints(parts)],
    operators: people,
    publicUrl: 'http://control',
    onBug: (bug) => {
      throw bug
    },
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    ...world,
    ...{ audit, over, metrics, tenants, told },
    async call(method, path, as, json) {
      const answer = await fetch(`${origin}${path}`, {
        method,
        headers: {
          'content-type': 'application/json',
          ...(as !== undefined && { authorization: `Bearer ${tokenOf(as)}` }),
        },
        ...(method === 'POST' && { body: JSON.stringify(json ?? {}) }),
      })
      const text = await answer.text()
      return { status: answer.status, text, json: JSON.parse(text) as Json }
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await world.close()
    },
  }
}
