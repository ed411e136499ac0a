import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;

import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.core.env.MapPropertySource;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.JpaSystemProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.HardcodedServerAddressStrategy;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;

/**
 * HAPI FHIR's JPA server (R4) on Jetty and an H2 file.
 *
 * <p>Arguments: {@code --address 127.x.y.z --port N --data DIR [--base-url URL] [--watch-stdin]
 * [--exit-when-ready]}.
 * Prints one line {@code ready URL} on stdout when it answers requests, and ends on SIGTERM;
 * with {@code --watch-stdin} also when its standard input is closed, so that it cannot outlive
 * the program that started it. {@code --exit-when-ready} is for making a class archive.
 */
public final class FhirServer {

	public static void main(String[] args) {
		// HAPI's delivery threads end with an exception when they give up; its text names endpoints.
		Thread.setDefaultUncaughtExceptionHandler((thread, e) -> System.err.println(thread.getName() + ": " + e.getClass().getName()));
		try {
			run(args);
		} catch (Throwable e) {
			e.printStackTrace();
			System.exit(1);
		}
	}

	private static void run(String[] args) throws Exception {
		String address = null;
		String baseUrl = null;
		int port = -1;
		Path data = null;
		boolean watchStdin = false;
		boolean exitWhenReady = false;
		for (int i = 0; i < args.length; i++) {
			switch (args[i]) {
				case "--address" -> address = args[++i];
				case "--port" -> port = Integer.parseInt(args[++i]);
				case "--data" -> data = Path.of(args[++i]);
				case "--base-url" -> baseUrl = args[++i];
				case "--watch-stdin" -> watchStdin = true;
				case "--exit-when-ready" -> exitWhenReady = true;
				default -> usage("unknown argument " + args[i]);
			}
		}
		if (address == null || port < 0 || data == null) {
			usage("--address, --port and --data are needed");
		}
		if (watchStdin) {
			exitWithStdin();
		}
		// The port is taken before the slow part, so that a busy one is told at once; requests
		// are answered only after the server is started.
		Server server = new Server(new QueuedThreadPool(24, 4));
		HttpConfiguration http = new HttpConfiguration();
		http.setSendServerVersion(false);
		http.setRequestHeaderSize(64 * 1024);
		ServerConnector connector = new ServerConnector(server, 1, 1, new HttpConnectionFactory(http));
		connector.setHost(address);
		connector.setPort(port);
		try {
			connector.open();
		} catch (java.io.IOException e) {
			System.err.println("cannot listen on " + address + ":" + port + ": " + e.getMessage());
			System.exit(3);
		}
		server.addConnector(connector);
		if (baseUrl == null) {
			baseUrl = "http://" + new InetSocketAddress(address, port).getHostString() + ":" + connector.getLocalPort() + "/fhir";
		}

		Files.createDirectories(data);
		AnnotationConfigApplicationContext spring = new AnnotationConfigApplicationContext();
		spring.getEnvironment().getPropertySources().addFirst(
				new MapPropertySource("arguments", java.util.Map.of("testbed.data", data.toAbsolutePath().toString())));
		spring.register(FhirServerConfig.class);
		spring.refresh();

		ServletContextHandler root = new ServletContextHandler();
		root.setContextPath("/");
		ServletHolder holder = new ServletHolder("fhir", restServer(spring, baseUrl));
		holder.setInitOrder(1);
		root.addServlet(holder, "/fhir/*");
		server.setHandler(root);
		server.setStopTimeout(2000);
		Runtime.getRuntime().addShutdownHook(new Thread(() -> {
			try {
				server.stop();
			} catch (Exception e) {
				System.err.println("stopping: " + e.getClass().getName());
			} finally {
				spring.close();
			}
		}, "stop"));
		server.start();
		System.out.println("ready " + baseUrl);
		if (exitWhenReady) {
			System.exit(0);
		}
		server.join();
	}

	private static RestfulServer restServer(AnnotationConfigApplicationContext spring, String baseUrl) {
		FhirContext context = spring.getBean(FhirContext.class);
		RestfulServer server = new RestfulServer(context);
		server.registerProviders(spring.getBean(ResourceProviderFactory.class).createProviders());
		server.registerProvider(spring.getBean(JpaSystemProvider.class));
		server.setServerConformanceProvider(new JpaCapabilityStatementProvider(
				server,
				spring.getBean(IFhirSystemDao.class),
				spring.getBean(JpaStorageSettings.class),
				spring.getBean(ISearchParamRegistry.class),
				spring.getBean(IValidationSupport.class)));
		DatabaseBackedPagingProvider paging = spring.getBean(DatabaseBackedPagingProvider.class);
		paging.setDefaultPageSize(20); // as HAPI's starter has it
		paging.setMaximumPageSize(200);
		server.setPagingProvider(paging);
		server.setDefaultResponseEncoding(EncodingEnum.JSON);
		server.setServerAddressStrategy(new HardcodedServerAddressStrategy(baseUrl));
		return server;
	}

	private static void exitWithStdin() {
		Thread watch = new Thread(() -> {
			try {
				while (System.in.read() >= 0) {
					// wait for the end
				}
			} catch (java.io.IOException e) {
				// as good as the end
			}
			System.exit(0);
		}, "watch-stdin");
		watch.setDaemon(true);
		watch.start();
	}

	private static void usage(String what) {
		System.err.println(what);
		System.err.println("usage: FhirServer --address 127.x.y.z --port N --data DIR [--base-url URL] [--watch-stdin] [--exit-when-ready]");
		System.exit(2);
	}
}
