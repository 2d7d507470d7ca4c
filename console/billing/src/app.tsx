import { Balance } from "./balance";
import { CardRow } from "./cards";
import { Choosing } from "./choosing";
import { Header } from "./header";
import { Notices } from "./notices";
import { account } from "./account";
import { announcement } from "./announcer";
import { failure, open, phase } from "./page";
import { Failed } from "./parts/failed";
import { Skeleton } from "./parts/skeleton";
import { key } from "./session";
import { SignIn } from "./signin";
import { Statement } from "./statement";
import { Tabs } from "./tabs";

function Content() {
  if (phase.value === "choosing") return <Choosing />;
  if (phase.value === "failed" && failure.value) return <Failed error={failure.value} again={() => void open()} />;
  if (account.value === null) return <Skeleton />;
  return (
    <>
      <Statement />
      <Notices />
      <Balance />
      <CardRow />
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
          <main aria-busy={phase.value === "loading"}>
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
