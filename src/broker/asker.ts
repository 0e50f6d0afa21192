// In: the form of a token request and what its sender proves. Out: which agent asks and which key it holds, or the
// refusal. Proves nothing by itself: the parties do (parties.ts).
import type { Binding } from '../lease/lease.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { StatedToken } from './grant.ts'
import type { AgentClient, Form, SenderFacts } from './parties.ts'
import type { BrokerParts } from './parts.ts'

/** An agent that has proven itself, and the key it has shown to hold. */
export interface Asker {
  readonly client: AgentClient
  readonly binding: Binding | undefined
  /** Another proof of an agent in the same request (RFC 8693 §2.1); undefined: the client is the actor. */
  readonly actor: AgentClient | undefined
}

/** Whether two are the same key, or both none. */
export function isSameKey(a: Binding | undefined, b: Binding | undefined): boolean {
  return a?.method === b?.method && a?.thumbprint === b?.thumbprint
}

/** What the platform of an agent says about its instance is not for anybody to state otherwise. */
export function refuseInstance(stated: string | undefined, { instance }: AgentClient): Refusal | undefined {
  return stated === undefined || instance === '' || stated === instance
    ? undefined
    : refuse('invalid_request', { detail: 'instance is not the one that the token of the agent names' })
}

/** A form with one of these authenticates a client (RFC 6749 §2.3, RFC 7521 §4.2, RFC 8705 §2). */
const clientParameters = ['client_id', 'client_secret', 'client_assertion', 'client_assertion_type']

/** Which agent asks, and the key it holds. An actor token alone is both (RFC 8693 §2.1). */
export async function proveAsker(
  actor: StatedToken | undefined,
  { form, sender }: { readonly form: Form; readonly sender: SenderFacts },
  parts: BrokerParts,
): Promise<Asker | Refusal> {
  const authenticates = sender.authorization === true || clientParameters.some((name) => form.has(name))
  const prove = () => parts.clients.authenticate(form, sender, parts.now())
  const act = async () => actor && parts.clients.actor(actor.token, actor.type, parts.now())
  const client = authenticates || actor === undefined ? await prove() : await act()
  if (client === undefined || isRefusal(client)) return client ?? refuse('invalid_client')
  const binding = await parts.senders.verify(sender, parts.now())
  if (isRefusal(binding)) return binding
  if (client.key !== undefined && !isSameKey(client.key, binding)) {
    return refuse('invalid_dpop_proof', { detail: 'the token of the agent names a key that is not proven' })
  }
  const other = authenticates ? await act() : undefined
  if (!isRefusal(other)) return { client, binding, actor: other }
  // Here it is a parameter of a client that is known, not who the client is (RFC 8693 §2.2.2).
  return other.code === 'invalid_client' ? refuse('invalid_request', other.facts) : other
}
