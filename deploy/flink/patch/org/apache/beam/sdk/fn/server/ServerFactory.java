// Takes the place of the class of this name in beam-sdks-java-core 2.70.0, placed before it on the class path.
// The original opens its gRPC servers (control, data, state, logging, artifacts, jobs) on all interfaces, without
// authentication, whatever --job-host says. This one binds to the loopback address, or to -Dkairos.beam.bind=ADDRESS where
// workers run on other machines (then behind a firewall). Unix sockets are left out: nobody here asks for them.
package org.apache.beam.sdk.fn.server;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.beam.model.pipeline.v1.Endpoints.ApiServiceDescriptor;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.BindableService;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Server;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerInterceptors;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.netty.NettyServerBuilder;

public abstract class ServerFactory {
  public abstract Server allocateAddressAndCreate(List<BindableService> services, ApiServiceDescriptor.Builder where)
      throws IOException;

  public abstract Server create(List<BindableService> services, ApiServiceDescriptor where) throws IOException;

  public static ServerFactory createDefault() {
    return new Bound(UrlFactory.createDefault(), () -> 0);
  }

  public static ServerFactory createWithUrlFactory(UrlFactory urls) {
    return new Bound(urls, () -> 0);
  }

  public static ServerFactory createWithPortSupplier(Supplier<Integer> ports) {
    return new Bound(UrlFactory.createDefault(), ports);
  }

  public static ServerFactory createWithUrlFactoryAndPortSupplier(UrlFactory urls, Supplier<Integer> ports) {
    return new Bound(urls, ports);
  }

  public static ServerFactory createEpollSocket() {
    throw new UnsupportedOperationException("loopback TCP only");
  }

  public static ServerFactory createEpollDomainSocket() {
    throw new UnsupportedOperationException("loopback TCP only");
  }

  @FunctionalInterface
  public interface UrlFactory {
    String createUrl(String address, int port);

    static UrlFactory createDefault() {
      return (host, port) -> host.contains(":") ? "[" + host + "]:" + port : host + ":" + port;
    }
  }

  private static final class Bound extends ServerFactory {
    private final UrlFactory urls;
    private final Supplier<Integer> ports;

    Bound(UrlFactory urls, Supplier<Integer> ports) {
      this.urls = urls;
      this.ports = ports;
    }

    @Override
    public Server allocateAddressAndCreate(List<BindableService> services, ApiServiceDescriptor.Builder where)
        throws IOException {
      Server server = open(services, ports.get());
      where.setUrl(urls.createUrl(address().getHostAddress(), server.getPort()));
      return server;
    }

    @Override
    public Server create(List<BindableService> services, ApiServiceDescriptor where) throws IOException {
      String url = where.getUrl();
      return open(services, Integer.parseInt(url.substring(url.lastIndexOf(':') + 1)));
    }

    private static InetAddress address() throws IOException {
      String set = System.getProperty("kairos.beam.bind", "");
      return set.isEmpty() ? InetAddress.getByName("127.0.0.1") : InetAddress.getByName(set);
    }

    private static Server open(List<BindableService> services, int port) throws IOException {
      NettyServerBuilder builder = NettyServerBuilder.forAddress(new InetSocketAddress(address(), port));
      builder.maxInboundMessageSize(Integer.MAX_VALUE).permitKeepAliveTime(20, TimeUnit.SECONDS);
      for (BindableService service : services) {
        builder.addService(ServerInterceptors.intercept(service, GrpcContextHeaderAccessorProvider.interceptor()));
      }
      return builder.build().start();
    }
  }
}
