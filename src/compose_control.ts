// The part of compose.ts that makes the control listener: parts in, a server with the endpoints of what this
// process is, not yet bound. ADD AN ENDPOINT to the list of its role. Decides nothing.
import type { Server } from 'node:http'
import type { Parts } from './compose_parts.ts'
import { createControlListener, type Endpoint } from './http/control.ts'
import { jwksEndpoint } from './http/jwks.ts'
import { operator } from './http/operators.ts'
import { revocationEndpoints } from './http/revocations.ts'
import { openSecretFile } from './secret_file.ts'

/** The control listener; the caller binds it. */
export async function composeControl(parts: Parts): Promise<Server> {
  const { config, log } = parts
  const operatorToken = await openSecretFile(config.control.tokenFile)
  return createControlListener({
    endpoints: [...operatorEndpoints(parts), ...(parts.roles.broker ? brokerEndpoints(parts) : [])],
    operators: [operator('operator', operatorToken)],
    publicUrl: config.broker.issuer,
    onBug: (error) => log.error({ err: error }, 'a bug on the control listener; answered 500'),
  })
}

const now = () => Date.now() / 1000

/** What operators call on any process: a revocation may be sent to whichever is at hand. */
function operatorEndpoints({ store }: Parts): Endpoint[] {
  return revocationEndpoints(store, now)
}

/** What the broker alone serves: a gate without one has no keys to publish and nothing to issue. */
function brokerEndpoints({ signing }: Parts): Endpoint[] {
  return [jwksEndpoint(() => signing?.public() ?? [])]
}
