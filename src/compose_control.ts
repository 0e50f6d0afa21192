// The part of compose.ts that makes the control listener: parts in, a server with the endpoints of what this
// process is, not yet bound. ADD AN ENDPOINT to the list of its role. Decides nothing.
import type { Server } from 'node:http'
import { composeBroker } from './compose_broker.ts'
import { composeConsole } from './compose_console.ts'
import { composeDecisions } from './compose_decisions.ts'
import type { GateSide } from './compose_gate.ts'
import { composeLive } from './compose_live.ts'
import { sendNotices } from './compose_notify.ts'
import type { Closers, Parts } from './compose_parts.ts'
import { composeBefore } from './compose_release.ts'
import { surroundings } from './config/blast_radius.ts'
import type { Config } from './config.ts'
import { assetEndpoints } from './http/console/assets.ts'
import { pageHeaders } from './http/console/security_headers.ts'
import { createControlListener } from './http/control.ts'
import { leaseEndpoints } from './http/leases.ts'
import { openApiEndpoint } from './http/openapi.ts'
import { type Operator, operator } from './http/operators.ts'
import { revocationEndpoints } from './http/revocations.ts'
import { statusEndpoint } from './http/status.ts'
import { openSecretFile } from './secret_file.ts'
import { version } from './version.ts'

/** The control listener; the caller binds it. */
export async function composeControl(parts: Parts, closers: Closers, side?: GateSide): Promise<Server> {
  const { config, log, store, brokerObserver: observer } = parts
  sendNotices(parts, closers)
  // A gate without a broker has no keys to publish and nothing to issue.
  const broker = parts.roles.broker ? composeBroker(parts, closers) : undefined
  const orders = { store, observer, clock: Date.now }
  const holder = broker === undefined ? {} : { holder: broker.holder }
  const console = composeConsole(parts, () => server)
  const endpoints = [
    // What operators call on any process: a revocation may be sent to whichever is at hand.
    ...revocationEndpoints(orders),
    ...console.endpoints,
    ...composeDecisions(parts, console, closers),
    ...leaseEndpoints({ ...orders, around: (now) => surroundings(config, now), ...holder }),
    statusEndpoint(orders),
    ...composeLive(parts, console, closers),
    ...(broker?.endpoints ?? []),
    // A broker alone has no way to the backends.
    ...(side === undefined ? [] : [composeBefore(parts, side)]),
  ]
  const server = createControlListener({
    endpoints: [
      ...endpoints,
      openApiEndpoint(endpoints, {
        url: config.broker.issuer,
        consoleUrl: config.console.url,
        version,
      }),
      ...assetEndpoints(pageHeaders(config.console.url)),
    ],
    operators: await openOperators(config.control),
    people: console.people,
    publicUrl: config.broker.issuer,
    tls: config.tls.control,
    onBug: (error) => log.error({ err: error }, 'a bug on the control listener; answered 500'),
  })
  return server
}

/** Everybody who may call the control listener; a token file that is not there yet is made. */
async function openOperators({ tokenFile, operators }: Config['control']): Promise<Operator[]> {
  const first = {
    name: 'operator',
    tokenFile,
    tenant: undefined,
    roles: ['admin'],
    groups: [],
  } as const
  const all = [first, ...operators]
  return Promise.all(all.map(async (each) => operator(each.name, await openSecretFile(each.tokenFile), each)))
}
