# Leasegate in a container: builds with the development dependencies, runs without them and without a shell
# in the way. Needs nothing writable but /data. docs/operations.md says how to run it.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# The pages of the console are served as they are.
COPY src/console src/console
COPY regoc regoc
COPY policies policies
COPY config.example.yaml LICENSE ./
# The state, the audit file, the keys of broker and approvals, the operator token: readable by nobody else.
RUN install -d -o node -g node -m 0700 /data
USER node
VOLUME /data
EXPOSE 8080 8081 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9464/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node's permission model: no file outside these is opened and nothing is started but the Rego
# compiler and, for policy in shadow, threads.
ENTRYPOINT ["node", "--permission", "--allow-fs-read=/app", "--allow-fs-read=/etc/leasegate", "--allow-fs-read=/run/secrets", "--allow-fs-read=/data", "--allow-fs-write=/data", "--allow-child-process", "--allow-worker", "dist/src/cli.js"]
CMD ["serve", "-c", "/etc/leasegate/config.yaml"]
