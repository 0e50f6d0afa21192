// The part of compose.ts that makes the control listener: parts in, a server with the endpoints of what this
// process is, not yet bound. ADD AN ENDPOINT to the list of its role. Decides nothing.
import type { Server } from 'node:http'
import type { Closers, Parts } from './compose_parts.ts'
import type { Config } from './config.ts'
import { createControlListener, type Endpoint } from './http/control.ts'
import { jwksEndpoint } from './http/jwks.ts'

import { leaseEndpoints } from './http/leases.ts'
import { metadataEndpoints } from './http/metadata.ts'
import { type Operator, operator } from './http/operators.ts'

import { revocationEndpoints } from './http/revocations.ts'
import { openSecretFile } from './secret_file.ts'

/** The control listener; the caller binds it. */
export async function composeControl(parts: Parts, _closers: Closers): Promise<Server> {
  const { config, log } = parts
  return createControlListener({
    endpoints: [...operatorEndpoints(parts), ...(parts.roles.broker ? brokerEndpoints(parts) : [])],
    operators: await openOperators(config.control),
    publicUrl: config.broker.issuer,
    tls: config.tls.control,
    onBug: (error) => log.error({ err: error }, 'a bug on the control listener; answered 500'),
  })
}

const now = () => Date.now() / 1000

/** What operators call on any process: a revocation may be sent to whichever is at hand. */
function operatorEndpoints({ store, observer }: Parts): Endpoint[] {
  return [...revocationEndpoints(store, now), ...leaseEndpoints({ store, now, observer })]
}

/** What the broker alone serves: a gate without one has no keys to publish and nothing to issue. */
function brokerEndpoints({ config, signing }: Parts): Endpoint[] {
  const endpoints = [jwksEndpoint(() => signing?.public() ?? [])]
  const metadata = metadataEndpoints({
    issuer: config.broker.issuer,
    endpoints,
    grantTypes: [],
    clientAuthentication: [],
    assertionAlgorithms: [],
    proofAlgorithms: [],
    certificateBound: config.tls.control?.clientCa !== undefined,
  })
  return [...endpoints, ...metadata]
}

/** Everybody who may call the control listener; a token file that is not there yet is made. */
async function openOperators({ tokenFile, operators }: Config['control']): Promise<Operator[]> {
  const all = [{ name: 'operator', tokenFile, tenant: undefined }, ...operators]
  return Promise.all(
    all.map(async (each) => operator(each.name, await openSecretFile(each.tokenFile), each.tenant)),
  )
}
