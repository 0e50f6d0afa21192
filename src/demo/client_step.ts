// The last step of the demo: an agent with `leasegate/client`, whose token is bound to a key of its own.
import { createLeaseClient, LeaseRefused, privateKeyJwt } from '../client/index.ts'
import { demoAgent } from './login.ts'
import type { DemoFacts, Step } from './steps.ts'

/** The step: a read, a read that needs a wider lease, and one that no lease will cover. */
export function clientStep({ config, parties }: DemoFacts): Step {
  const { publicOrigin, broker, backends } = config
  const crm = `${publicOrigin}${backends[0]!.pathPrefix ?? ''}`
  return {
    title: '8. The same agent with leasegate/client: a bound token, and a wider lease when it needs one',
    shown: `BROKER=${broker.issuer} GATE=${publicOrigin} AGENT_KEY=${parties.agentKeyFile} USER_TOKEN=$ALICE node examples/agent.ts`,
    expected: 'two customers are read, each under a lease that names it',
    async perform() {
      const client = await createLeaseClient({
        broker: broker.issuer,
        clientId: demoAgent,
        authenticate: privateKeyJwt(parties.agentKey),
        subjectToken: () => parties.idToken(),
      })
      const lease = client.lease({
        task: 'jira:SUP-4711',
        purpose: "answer the customer's billing question",
        resource: publicOrigin,
        allow: ['read crm:customer/9821'],
      })
      try {
        const lines: string[] = []
        for (const id of ['9821', '1042']) {
          const answer = await lease.fetch(`${crm}/customers/${id}`)
          const { name } = (await answer.json()) as { name?: string }
          lines.push(`${answer.status} ${name ?? ''} under ${answer.headers.get('lease-id') ?? 'no lease'}`)
        }
        await lease.complete()
        return { lines: [...lines, 'completed'] }
      } catch (error) {
        if (error instanceof LeaseRefused) return { lines: [error.message], problem: 'the agent was refused' }
        throw error
      }
    },
  }
}
