import { account, mayChoose } from "./account";
import { announcement } from "./announcer";
import { Balance } from "./balance";
import { Figures } from "./figures";
import { Header } from "./header";
import { address } from "./navigation";
import { Notices } from "./notices";
import { failure, open, phase } from "./page";
import { Failed } from "./parts/failed";
import { late } from "./parts/late";
import { Skeleton } from "./parts/skeleton";
import { key } from "./session";
import { SignIn } from "./signin";
import { Stale } from "./stale";
import { Statement } from "./statement";
import { Statements } from "./statements";
import { Tabs } from "./tabs";
import { t } from "./texts/spoken";

/** For the keys of operators and services alone. */
const Choosing = late(async () => (await import("./managing")).Choosing);

function NotOpened({ error }: { readonly error: Error }) {
  const otherwise = mayChoose.value ? t.chooseAnother : t.openOwn;
  return (
    <Failed error={error} again={() => void open()}>
      {address.value.account !== null && <a href="/console/">{otherwise}</a>}
    </Failed>
  );
}

function Content() {
  if (phase.value === "choosing") return <Choosing />;
  if (phase.value === "failed" && failure.value) return <NotOpened error={failure.value} />;
  if (account.value === null) return <Skeleton />;
  return (
    <>
      <Statement />
      <Statements />
      <Notices />
      <Balance />
      <Figures />
      <Tabs />
    </>
  );
}

export function App() {
  return (
    <>
      {key.value === null ? (
        <SignIn />
      ) : (
        <>
          <Header />
          <Stale />
          <main id="content" tabIndex={-1} aria-busy={phase.value === "loading"}>
            <Content />
          </main>
        </>
      )}
      <p class="unseen" role="status">
        {announcement}
      </p>
    </>
  );
}
